"""How images get into a proxy: ask what it would refuse, bring what it lacks, order what is whole."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from proxy.admin.bundle_messages import IMPORT, MISSING, ImportedImage, ImportRequest, MissingRequest, OrderRequest
from proxy.admin.client import AdminClient, AdminFailed, AdminRefused, AdminUnreachable
from proxy.bundles.entries import EntryBody
from proxy.bundles.plan import Bringing
from proxy.bundles.refusal import BundleRefused
from proxy.bundles.shelf import Shelf, Shelved, Stated
from proxy.commands.progress import Advance, moving
from proxy.core.names import Digest

_ASKED = 5_000  # digests at a time
_ORDERED = 1_000  # images at a time
_STEP = 1 << 20  # bytes


class Brought(NamedTuple):
    """An image of a bundle, and what became of it."""

    name: str
    digest: str
    contents: int
    absent: int  # manifests of an index that are not in the bundle
    sent: int  # bytes that the proxy did not hold
    refused: str  # why it is not imported, empty where it is


def bring(proxy: AdminClient, shelf: Shelf, shelved: Sequence[Shelved], preview: bool) -> list[Brought]:
    """Raises AdminUnreachable, and AdminFailed where the proxy does not answer as it should."""
    found: list[Brought] = []
    for each in shelved:
        try:
            found += _bring(proxy, shelf, each, preview)
        except AdminRefused as refused:
            found += (_brought(image, str(refused)) for image in each.images)
    return found


def _bring(proxy: AdminClient, shelf: Shelf, shelved: Shelved, preview: bool) -> list[Brought]:
    refused = {image: image.refused for image in shelved.images if image.refused}
    refused |= _ordered(proxy, shelf, _rest(shelved, refused), shelved.stated, True)
    missing = _missing(proxy, {digest for image in _rest(shelved, refused) for digest in image.contents})
    sizes = _sizes(shelf, shelved)
    for image in _rest(shelved, refused):
        lacking = [digest for digest in image.contents if digest in missing and not shelf.has(digest)]
        if lacking:
            waits = "; they may be in another volume" if shelved.stated is not None else ""
            refused[image] = f"{len(lacking)} of its contents are neither here nor held{waits}"
    if preview:
        return [_brought(image, refused.get(image, ""), missing, sizes) for image in shelved.images]
    # Of a bundle with a list, what is here of an image counts even where the rest of it is on another medium.
    useful = shelved.images if shelved.stated is not None else _rest(shelved, refused)
    wanted = {digest: image for image in useful if not image.refused for digest in image.contents if digest in missing}
    failed = _send(proxy, shelf, wanted, sizes)
    for image in _rest(shelved, refused):
        why = next((failed[digest] for digest in image.contents if digest in failed), "")
        if why:
            refused[image] = why
    refused |= _ordered(proxy, shelf, _rest(shelved, refused), shelved.stated, False)
    return [_brought(image, refused.get(image, ""), missing, sizes) for image in shelved.images]


def _rest(shelved: Shelved, refused: dict[Bringing, str]) -> list[Bringing]:
    return [image for image in shelved.images if image not in refused]


def _missing(proxy: AdminClient, digests: set[Digest]) -> set[str]:
    missing: set[str] = set()
    ordered = sorted(digests)
    for start in range(0, len(ordered), _ASKED):
        for line in proxy.operate(MISSING, MissingRequest(digests=tuple(ordered[start : start + _ASKED]))):
            missing.update(line.missing)
    return missing


def _sizes(shelf: Shelf, shelved: Shelved) -> dict[Digest, int]:
    sizes = {digest: found.size for survey in shelf.surveys for digest, found in survey.contents.items()}
    made = shelf.made({digest for image in shelved.images for digest in image.manifests})
    return sizes | {digest: len(raw) for digest, raw in made}


def _send(
    proxy: AdminClient, shelf: Shelf, wanted: dict[Digest, Bringing], sizes: dict[Digest, int]
) -> dict[Digest, str]:
    """What was not taken, and why. While the proxy has the disk keep one content, the next one is sent."""
    failed: dict[Digest, str] = {}
    kept: set[Digest] = set()
    sent: deque[tuple[Digest, Callable[[], None]]] = deque()

    @contextmanager
    def telling(digest: Digest) -> Iterator[None]:
        try:
            yield
        except AdminUnreachable:
            raise
        except (AdminFailed, BundleRefused) as cause:
            failed.setdefault(digest, str(cause))

    def settle(most: int) -> None:
        while len(sent) > most:
            digest, answered = sent.popleft()
            with telling(digest):
                answered()
                kept.add(digest)
                failed.pop(digest, None)

    def send(digest: Digest, size: int, pieces: Iterator[bytes]) -> None:
        with telling(digest):
            sent.append((digest, proxy.bring(digest, size, wanted[digest].name.repository.upstream, pieces)))
        settle(1)

    with moving("importing", sum(sizes.get(digest, 0) for digest in wanted)) as advance:
        for digest, raw in shelf.made(wanted):
            send(digest, len(raw), iter([raw]))
        for survey in shelf.surveys:  # what one of them has with wrong bytes, another may have
            for digest, size, body in shelf.bodies(survey, wanted.keys() - kept):
                send(digest, size, _pieces(body, advance))
            settle(0)
    return failed


def _pieces(body: EntryBody, advance: Advance) -> Iterator[bytes]:
    while piece := body.read(_STEP):
        advance(len(piece))
        yield piece


def _ordered(
    proxy: AdminClient, shelf: Shelf, images: Sequence[Bringing], stated: Stated | None, preview: bool
) -> dict[Bringing, str]:
    """Those that are refused, and why."""
    refused: dict[Bringing, str] = {}
    for start in range(0, len(images), _ORDERED):
        some = images[start : start + _ORDERED]
        orders = tuple(_order(shelf, image) for image in some)
        signed = stated if stated is not None and stated.signature is not None else None
        request = ImportRequest(
            images=orders,
            listed=signed.raw.decode() if signed is not None else None,
            signature=(signed.signature or b"").decode("ascii", "replace") if signed is not None else None,
            preview=preview,
        )
        lines = [line for line in proxy.operate(IMPORT, request) if isinstance(line, ImportedImage)]
        refused |= {image: line.refused for image, line in zip(some, lines, strict=True) if line.refused}
    return refused


def _order(shelf: Shelf, image: Bringing) -> OrderRequest:
    lent = tuple(digest for digest in image.contents if not shelf.has(digest))
    return OrderRequest(name=str(image.name), digest=image.digest, contents=image.contents, lent=lent)


def _brought(
    image: Bringing, refused: str, missing: set[str] | None = None, sizes: dict[Digest, int] | None = None
) -> Brought:
    sent = sum((sizes or {}).get(digest, 0) for digest in image.contents if digest in (missing or ()))
    return Brought(str(image.name), image.digest, len(image.contents), len(image.absent), sent, refused)
