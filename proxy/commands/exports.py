"""``entrepot export``: what is held, as a bundle that others read too."""

import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from proxy.admin.bundle_messages import EXPORT, ExportedImage, ExportRequest
from proxy.admin.client import AdminClient, AdminFailed, AdminUnreachable
from proxy.bundles.documents import Sign, documents_of
from proxy.bundles.entries import LIST
from proxy.bundles.listing import LIST_LIMIT, BundleList, ListedImage, news, of_images, read_list
from proxy.bundles.names import ImageName, image_name
from proxy.bundles.refusal import BundleRefused
from proxy.bundles.signatures import KEY_LIMIT, signed
from proxy.bundles.targets import BundleTarget, FolderTarget
from proxy.bundles.volumes import ArchiveTarget, is_archive, volume_for
from proxy.commands import shown
from proxy.commands.exported import export_json, told
from proxy.commands.progress import Advance, moving
from proxy.commands.session import FAILED, WRONG, AdminUrl, AsJson, ConfigFile, answered, running_proxy, stop, working
from proxy.config import FileRefused, parse_size, read_file
from proxy.core.names import Digest, Tag
from proxy.core.steps import at_once

_SLACK = 16 << 10  # bytes of a volume, for what frames its documents


def export(  # noqa: PLR0913, PLR0917 - what people may say
    refs: Annotated[
        list[str] | None, typer.Argument(metavar="[REF]…", help="REGISTRY/REPOSITORY, …:TAG or …@DIGEST; * and ?.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", help="A folder, FILE.tar or FILE.tar.zst.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All images that are held.")] = False,
    since: Annotated[Path | None, typer.Option(help="The far side's list: only what is not in it goes in.")] = None,
    split: Annotated[str | None, typer.Option(help="Volumes of at most that size: 4GB, 25GiB.")] = None,
    sign: Annotated[Path | None, typer.Option(help="Private Ed25519 key (PEM) to sign the list with.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Print the list of what is held, for --since.")] = False,
    config: ConfigFile = None,
    admin: AdminUrl = None,
    as_json: AsJson = False,
) -> None:
    """Write what is held as an image layout, for a place without a network. Nothing is fetched for it."""
    patterns = ["*"] if everything or (listed and not refs) else refs or []
    if not patterns or (to is None) == (not listed):
        stop(WRONG, "say what to export (REF… or --all) and --to DIR|FILE.tar[.zst], or --list")
    parent = _list_in(since) if since is not None else None
    signer = _signer(sign) if sign is not None else None
    volume = _volume(split, to)
    proxy = running_proxy(admin, config)
    with answered(), working("looking at what is held"):
        found = _found(proxy, patterns)
    wanted = found.listed if parent is None else news(found.listed, *parent)
    if to is None:
        print(wanted.encode().decode(), end="")
        return
    if not found.listed.images:
        stop(FAILED, f"nothing is held whole that matches {' '.join(patterns)}{told(found.incomplete)}")
    known = frozenset(parent[0].sizes) if parent is not None else frozenset()
    try:
        with answered():
            writing = _Export(proxy, wanted, known, found.manifests, signer)
            written, paths = writing.write(to, volume)
    except (BundleRefused, OSError) as cause:
        stop(FAILED, f"{cause}; what was written until now is carried on from by the next run")
    lost = len(wanted.images) - len(written.images)
    if as_json:
        print(export_json(written, paths, found.incomplete))
    else:
        size = sum(size for digest, size in written.sizes.items() if digest not in known)
        images = shown.counted(len(written.images), "image")
        print(f"{images}, {shown.size(size)} in {' '.join(map(str, paths))}{told(found.incomplete)}")
    if lost or found.incomplete:
        raise typer.Exit(FAILED)


@dataclass(slots=True)
class _Exportable:
    listed: BundleList
    manifests: frozenset[Digest]
    incomplete: dict[str, int] = field(default_factory=dict)  # by name, how many contents are missing


def _found(proxy: AdminClient, patterns: Sequence[str]) -> _Exportable:
    images: list[ListedImage] = []
    sizes: dict[Digest, int] = {}
    manifests: set[Digest] = set()
    incomplete: dict[str, int] = {}
    for line in proxy.operate(EXPORT, ExportRequest(images=tuple(patterns))):
        if not isinstance(line, ExportedImage):
            continue
        if line.missing:
            incomplete[str(_names(line)[0])] = len(line.missing)
            continue
        held = {Digest.parse(each.digest): each.size for each in line.contents}
        sizes |= held
        manifests.update(map(Digest.parse, line.manifests))
        absent = tuple(map(Digest.parse, line.absent))
        images.append(ListedImage(_names(line), Digest.parse(line.image_digest), tuple(held), absent))
    return _Exportable(of_images(images, sizes, round(time.time(), 3)), frozenset(manifests), incomplete)


def _names(line: ExportedImage) -> tuple[ImageName, ...]:
    plain = image_name(line.repository_name)
    return tuple(plain._replace(tag=Tag.parse(tag)) for tag in line.image_tags) or (plain,)


class _Export:
    """Of one bundle. ``known`` is what the far side has already."""

    def __init__(
        self,
        proxy: AdminClient,
        listed: BundleList,
        known: frozenset[Digest],
        manifests: frozenset[Digest],
        sign: Sign | None,
    ) -> None:
        self._proxy = proxy
        self._listed = listed
        self._sign = sign
        needed = [digest for digest in listed.sizes if digest in manifests or digest not in known]
        self._needed = sorted(needed, key=lambda digest: (digest not in manifests, digest))
        self._manifests = manifests
        self._raw: dict[Digest, bytes] = {}
        self._gone: set[Digest] = set()

    def write(self, to: Path, volume: int | None) -> tuple[BundleList, list[Path]]:
        """The list as it has become, and where it is. Raises BundleRefused, OSError, AdminFailed."""
        total = sum(self._listed.sizes[digest] for digest in self._needed)
        self._read_manifests()
        with closing(self._target(to, volume)) as target, moving("exporting", total) as advance:
            for digest in self._needed:
                if digest in self._gone or target.has(digest):
                    advance(self._listed.sizes[digest])
                elif not self._copied(target, digest, advance):
                    self._gone.add(digest)
            return self._finished(target)

    def _finished(self, target: BundleTarget) -> tuple[BundleList, list[Path]]:
        whole = (image for image in self._listed.images if self._gone.isdisjoint(image.contents))
        written = of_images(whole, self._listed.sizes, self._listed.created_at, self._listed.parent)
        documents = documents_of(written, self._raw.get, self._sign)
        if len(documents[LIST]) > LIST_LIMIT:
            raise BundleRefused(f"its list has more than {LIST_LIMIT} bytes: export in several bundles")
        return written, target.finish(documents)

    def _read_manifests(self) -> None:
        """They are small, and say what the documents have to."""
        for digest in self._needed:
            if digest in self._manifests:
                try:
                    with self._proxy.content(digest) as body:
                        raw = body.read()
                except AdminUnreachable:
                    raise
                except AdminFailed:
                    raw = b""
                if digest.matches(raw):
                    self._raw[digest] = raw
                else:
                    self._gone.add(digest)

    def _target(self, to: Path, volume: int | None) -> BundleTarget:
        if not is_archive(to):
            return FolderTarget(to)
        if volume is None:
            return ArchiveTarget(to, None, 0)
        documents = sum(map(len, documents_of(self._listed, self._raw.get, self._sign).values())) + _SLACK
        self._demand_room(volume, documents)
        return ArchiveTarget(to, volume, documents)

    def _demand_room(self, volume: int, documents: int) -> None:
        """Before anything is written. Raises BundleRefused."""
        if not self._needed:
            return
        largest = max(self._needed, key=self._listed.sizes.__getitem__)
        size = self._listed.sizes[largest]
        if (least := volume_for(size, documents)) > volume:
            raise BundleRefused(
                f"the largest blob is {largest} with {size} bytes, and no blob is in two volumes: "
                f"--split {least} is the least that holds it"
            )

    def _copied(self, target: BundleTarget, digest: Digest, advance: Advance) -> bool:
        """False where it is held no more: what needs it is then left out."""
        try:
            with self._proxy.content(digest) as body:
                target.write(digest, self._listed.sizes[digest], _Counted(body, advance))
        except AdminUnreachable:
            raise
        except AdminFailed:
            return False
        return True


class _Counted:
    def __init__(self, body: Any, advance: Advance) -> None:
        self._body = body
        self._advance = advance

    def read(self, count: int) -> bytes:
        piece: bytes = self._body.read(count)
        self._advance(len(piece))
        return piece


def _list_in(path: Path) -> tuple[BundleList, Digest]:
    try:
        raw = read_file(path, LIST_LIMIT)
        return at_once(read_list(raw)), Digest.of(raw)
    except (FileRefused, BundleRefused) as cause:
        stop(WRONG, f"--since: {path}: {cause}")


def _signer(path: Path) -> Sign:
    try:
        key = read_file(path, KEY_LIMIT)
        signed(b"", key)
    except ValueError as cause:
        stop(WRONG, f"--sign: {path}: {cause}")
    return lambda content: signed(content, key)


def _volume(split: str | None, to: Path | None) -> int | None:
    if split is None:
        return None
    if to is None or not is_archive(to):
        stop(WRONG, "--split is for FILE.tar and FILE.tar.zst")
    with suppress(ValueError):
        return parse_size(split)
    stop(WRONG, f"--split: {split!r} is no size: 4GB, 25GiB")
