"""``entrepot import``: bundles from elsewhere. They are taken apart here, and the running proxy gets nothing but bytes
by their digest and, once they are all there, the order to have the image."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Protocol, TypeVar

import typer

from proxy.admin.client import AdminClient, AdminUnreachable
from proxy.bundles.names import image_name
from proxy.bundles.refusal import BundleRefused
from proxy.bundles.shelf import Shelf
from proxy.bundles.signatures import PublicKey
from proxy.bundles.survey import LARGEST_BLOB, SMALL
from proxy.commands import shown
from proxy.commands.bringing import Brought, bring
from proxy.commands.progress import moving
from proxy.commands.session import (
    FAILED,
    WRONG,
    AdminUrl,
    AsJson,
    ConfigFile,
    answered,
    load_or_stop,
    running_proxy,
    stop,
)
from proxy.config import FileRefused, Loaded, read_public_key
from proxy.core.names import Repository

T = TypeVar("T")


class Attend(Protocol):
    def __call__(self, loaded: Loaded, work: Callable[[str], T]) -> T:
        """What ``work`` gives for the address of an admin API to the cache of a configuration that no proxy runs on."""


def importing(attend: Attend) -> Callable[..., None]:
    """The command."""

    def command(
        paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Folders and archives, in any order.")],
        keys: Annotated[
            list[Path] | None, typer.Option("--key", help="Public Ed25519 key (PEM) that must have signed.")
        ] = None,
        name: Annotated[
            str | None, typer.Option("--name", metavar="REGISTRY/REPOSITORY", help="For images without a full name.")
        ] = None,
        preview: Annotated[bool, typer.Option("--dry-run", help="Say what would be imported.")] = False,
        config: ConfigFile = None,
        admin: AdminUrl = None,
        as_json: AsJson = False,
    ) -> None:
        """Take in images from bundles, docker save, skopeo, crane or nerdctl. They answer under their own names."""
        trusted = [_key(path) for path in keys or []]
        repository = _repository(name) if name is not None else None
        for path in paths:
            if not path.exists():
                stop(WRONG, f"{path} is not there")
        with moving("reading", None) as heard:
            shelf = Shelf(paths, heard, LARGEST_BLOB if preview else SMALL)
        shelved = list(shelf.images(repository, trusted))

        def work(proxy: AdminClient) -> list[Brought]:
            return bring(proxy, shelf, shelved, preview)

        try:
            with answered():
                brought = _worked(work, admin, config, attend)
        except BundleRefused as cause:
            stop(FAILED, f"a bundle has changed since it was read: {cause}")
        _tell(shelf, brought, preview, as_json)
        if shelf.troubles or any(each.refused for each in brought) or not brought:
            raise typer.Exit(FAILED)

    return command


def _worked(work: Callable[[AdminClient], T], admin: str | None, config: Path | None, attend: Attend) -> T:
    """With the running proxy; with a configuration and none running, with its folder."""
    proxy = running_proxy(admin, config)
    try:
        proxy.status()
    except AdminUnreachable:
        if config is None or admin is not None:
            raise
        return attend(load_or_stop(config), lambda url: work(AdminClient(url)))
    return work(proxy)


def _tell(shelf: Shelf, brought: Sequence[Brought], preview: bool, as_json: bool) -> None:
    if as_json:
        said = {
            "images": [each._asdict() for each in brought],
            "troubles": shelf.troubles,
            "passedOver": shelf.passed_over,
        }
        print(json.dumps(said, indent=2))
        return
    for line in shelf.passed_over:
        print(f"passed over: {shown.printable(line)}")
    for line in shelf.troubles:
        print(f"refused: {shown.printable(line)}")
    for each in brought:
        state = f"refused: {each.refused}" if each.refused else _state(each, preview)
        print(shown.printable(f"{each.name}  {shown.short(each.digest)}  {state}"))
    good = [each for each in brought if not each.refused]
    images, size = shown.counted(len(good), "image"), shown.size(sum(each.sent for each in good))
    print(f"{images} {'would be ' if preview else ''}imported, {size} of it new here")


def _state(each: Brought, preview: bool) -> str:
    absent = f", {each.absent} platforms are not in it" if each.absent else ""
    return f"{'would be ' if preview else ''}imported, {shown.counted(each.contents, 'content')}{absent}"


def _key(path: Path) -> PublicKey:
    try:
        return read_public_key(path)
    except FileRefused as refused:
        stop(WRONG, f"--key: {refused}")


def _repository(name: str) -> Repository:
    try:
        return image_name(name).repository
    except BundleRefused as cause:
        stop(WRONG, f"--name: {cause}")
