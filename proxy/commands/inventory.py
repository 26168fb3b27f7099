"""``entrepot ls`` and ``entrepot inspect``: what is held."""

import json
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from proxy.admin.inventory_messages import (
    INSPECT,
    LIST,
    ImageLine,
    InspectedImage,
    InspectedPart,
    InspectRequest,
    ListEnd,
    ListRequest,
    RepositoryLine,
)
from proxy.commands import shown
from proxy.commands.session import FAILED, AdminUrl, AsJson, ConfigFile, answered, running_proxy, stop

_REPOSITORIES = ("REPOSITORY", "IMAGES", "TAGS", "SIZE", "LAST USED")
_IMAGES = ("REPOSITORY", "TAGS", "DIGEST", "KIND", "SIZE", "CACHED", "LAST USED", "PIN")
_TAGS = 4  # of an image in the table


def ls(
    repository: Annotated[
        str | None,
        typer.Argument(help="nginx, ghcr.io/o/i, or a pattern such as 'quay.io/*'; without it all, summed up."),
    ] = None,
    config: ConfigFile = None,
    admin: AdminUrl = None,
    as_json: AsJson = False,
) -> None:
    """What is held: repositories, or the images of one. What is part of an index is shown by inspect."""
    lines: list[RepositoryLine | ImageLine] = []
    rows = shown.RunningTable(_REPOSITORIES if repository is None else _IMAGES)
    end = None
    with answered():
        for line in running_proxy(admin, config).operate(LIST, ListRequest(repository=repository)):
            if isinstance(line, ListEnd):
                end = line.summary
            elif as_json:
                lines.append(line)
            else:
                rows.add(_repository(line) if isinstance(line, RepositoryLine) else _image(line))
    if end is None:
        stop(FAILED, "the running entrepot broke off")
    if as_json:
        key = "repositories" if repository is None else "images"
        print(json.dumps({key: [line.model_dump(by_alias=True) for line in lines]}, indent=2))
        return
    rows.end()
    if not rows.count:
        print("nothing is held" if repository is None else f"nothing is held of {shown.printable(repository)}")
    elif repository is None:
        print(f"\n{shown.counted(end.images, 'image')}")


def inspect(
    reference: Annotated[str, typer.Argument(help="nginx:1.27, ghcr.io/o/i@sha256:…, or a digest.", metavar="REF")],
    config: ConfigFile = None,
    admin: AdminUrl = None,
    as_json: AsJson = False,
) -> None:
    """One held image down to its layers: platforms, sizes, what it shares, who granted and pinned it."""
    image: InspectedImage | None = None
    parts: list[InspectedPart] = []
    with answered():
        for line in running_proxy(admin, config).operate(INSPECT, InspectRequest(reference=reference)):
            if isinstance(line, InspectedImage):
                image = line
            else:
                parts.append(line)
    if image is None:
        stop(FAILED, "the running entrepot broke off")
    if as_json:
        dumped = [part.model_dump(by_alias=True) for part in parts]
        print(json.dumps({**image.model_dump(by_alias=True), "parts": dumped}, indent=2))
        return
    for name, text in _facts(image):
        print(f"{name:<12}{shown.printable(text)}")
    if parts:
        print()
        shown.table(("PART", "DIGEST", "SIZE", "", "TYPE"), map(_part, parts))


def _repository(line: RepositoryLine) -> Sequence[str]:
    size, used = shown.size(line.size_in_bytes), shown.day(line.used_at)
    return line.repository_name, f"{line.images:,}", f"{line.tags:,}", size, used


def _image(line: ImageLine) -> Sequence[str]:
    more = len(line.image_tags) - _TAGS
    tags = " ".join(line.image_tags[:_TAGS]) + (f" +{more}" if more > 0 else "")
    kind = f"index of {line.manifests} held" if line.manifests else "image"
    size, times = shown.size(line.image_size_in_bytes), (shown.day(line.cached_at), shown.day(line.used_at))
    return line.repository_name, tags or "-", shown.short(line.image_digest), kind, size, *times, line.pinned_by or "-"


def _facts(image: InspectedImage) -> Iterator[tuple[str, str]]:
    yield "image", f"{image.repository_name}@{image.image_digest}"
    yield "tags", " ".join(image.image_tags) or "none"
    if image.checked_at is not None:
        yield "checked", f"where the tag points, {shown.ago(image.checked_at)}"
    yield "type", image.media_type
    if image.platform:
        yield "platform", image.platform
    missing = f"; {shown.counted(image.missing, 'part')} not held" if image.missing else ""
    shared = f", {shown.size(image.shared_bytes)} of it shared with other images"
    yield "size", f"{shown.size(image.image_size_in_bytes)} held{shared}{missing}"
    yield "cached", shown.ago(image.cached_at)
    yield "last used", shown.ago(image.used_at)
    yield "granted by", _grant(image)
    yield "pinned by", image.pinned_by or "nothing"
    if image.subject:
        yield "about", image.subject
    for digest in image.indexes:
        yield "part of", digest
    for name in image.also_in:
        yield "also in", name
    for each in image.referrers:
        yield "referrer", f"{each.digest} {each.media_type}"


def _grant(image: InspectedImage) -> str:
    if image.granted_by == "operator":
        return "an operator's import"
    if image.confirmed_at is None:
        return f"{image.upstream or 'its registry'}, to be confirmed anew"
    return f"its registry's yes, {shown.ago(image.confirmed_at)}"


def _part(part: InspectedPart) -> Sequence[str]:
    role = f"{'  ' * part.depth}{part.platform or part.role}"
    size = shown.size(part.size) if part.size is not None else "?"
    state = "not held" if not part.held else "shared" if part.shared else ""
    return role, shown.short(part.digest), size, state, part.media_type
