"""``entrepot warm``: images that are there before anybody pulls them. The running proxy brings them; lists of them are
read here."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from proxy.admin.client import AdminClient
from proxy.admin.warm_messages import WARM, WarmEnd, WarmLine, WarmRequest, WarmResult
from proxy.commands import shown
from proxy.commands.progress import warming
from proxy.commands.session import FAILED, WRONG, AdminUrl, AsJson, ConfigFile, answered, running_proxy, stop
from proxy.core.platforms import Platform
from proxy.warm.lists import SIZE_LIMIT, ImageList, ListRefused, read_list

_TITLES = ("IMAGE", "WHY NOT")


def warm(  # noqa: PLR0913, PLR0917 - what people may say
    refs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[REF]…", help="alpine, ghcr.io/o/i:tag, …@sha256:…; tags as v1.* or ^1.27."),
    ] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="FILE|-",
            help="Lines, JSON of kubectl or docker, YAML of Compose or Kubernetes.",
        ),
    ] = None,
    platforms: Annotated[
        list[str] | None, typer.Option("--platform", metavar="OS/ARCH", help="Of an index; each is needed.")
    ] = None,
    all_platforms: Annotated[bool, typer.Option("--all-platforms", help="All that an index has.")] = False,
    newest: Annotated[int | None, typer.Option(min=1, help="So many tags of each glob and range.")] = None,
    pin: Annotated[bool, typer.Option("--pin", help="Pin what came.")] = False,
    config: ConfigFile = None,
    admin: AdminUrl = None,
    as_json: AsJson = False,
) -> None:
    """Bring images into the cache, with their signatures. Without any: those of the configuration. What is held is
    passed over, so the same command goes on where it was interrupted."""
    for each in platforms or []:
        _demand_platform(each)
    if platforms and all_platforms:
        stop(WRONG, "--platform or --all-platforms, not both")
    images, passed_over = _wanted(refs or [], sources or [])
    if sources and not images:
        stop(FAILED, f"no images are named in {' '.join(sources)}{''.join(map(_passed, passed_over))}")
    request = WarmRequest(
        images=images, platforms=tuple(platforms or ()), all_platforms=all_platforms, newest=newest, pin=pin
    )
    results, end = _warmed(running_proxy(admin, config), request, as_json)
    failed = [each for each in results if each.refused]
    if as_json:
        said = {"images": [each.model_dump(by_alias=True) for each in results], "passedOver": passed_over}
        print(json.dumps({**said, **end.model_dump(by_alias=True)}, indent=2))
    else:
        _tell(failed, end, passed_over)
    if failed:
        raise typer.Exit(FAILED)


def _warmed(proxy: AdminClient, request: WarmRequest, as_json: bool) -> tuple[list[WarmResult], WarmEnd]:
    results: list[WarmResult] = []
    end = None
    with answered(), warming() as bars:
        for line in proxy.operate(WARM, request):
            if isinstance(line, WarmLine):
                bars.show(line.progress)
            elif isinstance(line, WarmEnd):
                end = line
            else:
                results.append(line)
                if not as_json and not line.refused:
                    bars.say(_line(line))
    if end is None:
        stop(FAILED, "the running entrepot broke off; what came until now is held, and the same command goes on")
    return results, end


def _line(image: WarmResult) -> str:
    new = f"{shown.size(image.fetched)} fetched" if image.fetched else "nothing new"
    signatures = f", {image.signatures} about it" if image.signatures else ""
    lacking = f", without {' '.join(image.lacking)}" if image.lacking else ""
    contents = shown.counted(image.contents, "content")
    digest = shown.short(image.image_digest or "")
    return shown.printable(f"{image.name}  {digest}  {contents}{signatures}, {new}{lacking}")


def _tell(failed: Sequence[WarmResult], end: WarmEnd, passed_over: Sequence[str]) -> None:
    for line in passed_over:
        print(_passed(line).strip())
    if failed:
        print()
        shown.table(_TITLES, ((each.name, each.refused) for each in failed))
        print()
    not_held = f", {end.failed} not" if end.failed else ""
    print(f"{shown.counted(end.held, 'image')} held{not_held}, {shown.size(end.fetched)} fetched")


def _passed(line: str) -> str:
    return f"\npassed over: {shown.printable(line)}"


def _wanted(refs: Sequence[str], sources: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """All names, each once, and what was passed over."""
    images = dict.fromkeys(refs)
    passed_over: list[str] = []
    for source in sources:
        found = _listed(source)
        images |= dict.fromkeys(found.images)
        passed_over += found.passed_over
    return tuple(images), passed_over


def _listed(source: str) -> ImageList:
    try:
        if source == "-":
            return read_list(_read(sys.stdin.buffer))
        with Path(source).open("rb") as file:
            return read_list(_read(file))
    except (OSError, ListRefused) as cause:
        stop(WRONG, f"--from {source}: {cause}")


def _read(file: BinaryIO) -> bytes:
    return file.read(SIZE_LIMIT + 1)


def _demand_platform(written: str) -> None:
    try:
        Platform.parse(written)
    except ValueError as wrong:
        stop(WRONG, f"--platform {written}: {wrong}")
