"""Content that an operator brings, and his order that a repository has it.

Bytes come first, proven by their digest and nobody's. An image is then made known in one go: what it needs before
itself, its tag last, so that whatever ends this leaves no image that is half there.
"""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from proxy.cache.access import Access
from proxy.cache.holdings import Holdings, Provenance
from proxy.cache.space import Arrival, Space
from proxy.cache.tags import Tags
from proxy.core.errors import NoSpace, RequestFault
from proxy.core.manifests import BOUNDS, ManifestInvalid
from proxy.core.names import Digest, Hasher, Repository, Tag
from proxy.core.parts import DEEPEST, ImageParts, parts_of
from proxy.storage.contract import Content, Grant, MembershipRecord
from proxy.tasks.off_loop import one_behind
from proxy.upstream.contract import Registry

_NOTE = "imports"


class ImportCount(NamedTuple):
    """Of all imports into this cache: images that were ordered, and when one was last, in seconds since the epoch."""

    images: int = 0
    last_at: float | None = None


class OrderedImage(NamedTuple):
    """An image as it is ordered to be had: ``contents`` are all that it consists of here, of which ``lent`` do not come
    with it but are held already."""

    repository: Repository
    tag: Tag | None
    digest: Digest
    contents: frozenset[Digest]
    lent: frozenset[Digest] = frozenset()


class _Ordered(NamedTuple):
    digest: Digest
    raw: bytes
    parts: ImageParts


class Imports:
    """``registry(upstream)`` gives the registry of a configured upstream."""

    def __init__(
        self, holdings: Holdings, space: Space, access: Access, tags: Tags, registry: Callable[[str], Registry]
    ) -> None:
        self.count = ImportCount()
        self._holdings = holdings
        self._space = space
        self._access = access
        self._tags = tags
        self._registry = registry

    async def load(self) -> None:
        """What was imported before. Raises StoreFailed."""
        images, _, last_at = (await self._holdings.catalog.notes.note(_NOTE) or "").partition(" ")
        with suppress(ValueError):
            self.count = ImportCount(int(images), float(last_at))

    async def missing(self, digests: Collection[Digest]) -> list[Digest]:
        """Those that are not held, whoever may have them. Raises StoreFailed."""
        get = self._holdings.catalog.contents.get
        return [digest for digest in digests if await get(digest) is None]

    async def receive(self, digest: Digest, size: int, upstream: str, pieces: AsyncIterator[bytes]) -> None:
        """Takes in exactly ``size`` bytes, which count for ``upstream`` and are nobody's yet. Raises RequestFault where
        they are not those of the digest, NoSpace, StoreFailed, UpstreamUnknown."""
        self._registry(upstream)
        largest = self._space.largest(upstream)
        if size > largest:
            raise NoSpace(f"{digest} has {size} bytes; at most {largest} of one content are kept below cache.max_size")
        arrival = await self._space.begin(size, upstream, f"{digest}, imported,")
        if arrival is None:
            raise NoSpace(f"there is no room for {digest} below cache.max_size and min_free")
        try:
            await self._write(arrival, digest, size, pieces)
            await arrival.commit(self._content(digest, size, upstream), Provenance(None))
        finally:
            arrival.abort()

    async def check(self, image: OrderedImage) -> None:
        """Whether it may be had at all. Raises UpstreamUnknown; RequestFault where it leans on another registry's
        content."""
        self._registry(image.repository.upstream)
        for digest in image.lent:
            content = await self._holdings.catalog.contents.get(digest)
            if content is not None and not await self._lends(image.repository, content):
                raise RequestFault(f"{digest} is not in the bundle, and is held for another registry")

    async def order(self, image: OrderedImage) -> int:
        """The repository has the image from now on; returns of how many contents it consists. Raises as ``check``, and
        RequestFault where it is not whole, NoSpace, StoreFailed."""
        await self.check(image)
        manifests = await self._manifests(image, image.digest, set(), DEEPEST)
        blobs = {blob for manifest in manifests for blob in manifest.parts.blobs}
        lacking = await self.missing(sorted(blobs)) + sorted(blobs - image.contents)
        if lacking:
            raise RequestFault(f"{len(lacking)} of its contents are not held, {lacking[0]} among them")
        for blob in sorted(blobs):
            await self._holdings.grant(image.repository, blob, MembershipRecord("", None, Grant.OPERATOR))
        for manifest in manifests:
            await self._keep(image.repository, manifest)
        if image.tag is not None:
            await self._tags.point(image.repository, image.tag, image.digest)
        self.count = ImportCount(self.count.images + 1, self._holdings.now())
        await self._holdings.catalog.notes.write_note(_NOTE, f"{self.count.images} {self.count.last_at}")
        return len(blobs) + len(manifests)

    async def _lends(self, repository: Repository, content: Content) -> bool:
        if await self._holdings.catalog.memberships.allowed(repository, content.digest) is not None:
            return True
        return await self._access.trusts(repository.upstream, content.digest, content.upstream)

    async def _manifests(self, image: OrderedImage, digest: Digest, seen: set[Digest], deep: int) -> list[_Ordered]:
        """Those that it refers to come before it."""
        if not deep:
            raise RequestFault(f"{digest} is an index within an index within …")
        seen.add(digest)
        manifest = await self._read(digest)
        found: list[_Ordered] = []
        for child in manifest.parts.manifests:
            if child in image.contents and child not in seen:
                found += await self._manifests(image, child, seen, deep - 1)
        if manifest.parts.manifests and not any(child in seen for child in manifest.parts.manifests):
            raise RequestFault(f"of the index {digest} no platform is there")
        return [*found, manifest]

    async def _read(self, digest: Digest) -> _Ordered:
        content = await self._holdings.catalog.contents.get(digest)
        if content is None or content.size > BOUNDS.size:
            raise RequestFault(f"the manifest {digest} is not held")
        raw = await self._holdings.read(content)
        if raw is None:
            raise RequestFault(f"the manifest {digest} is not held")
        try:
            return _Ordered(digest, raw, await self._holdings.turns.run(parts_of(raw)))
        except ManifestInvalid as cause:
            raise RequestFault(f"{digest} is no manifest: {cause}") from None

    async def _keep(self, repository: Repository, manifest: _Ordered) -> None:
        """It was nobody's blob, and becomes this repository's manifest."""
        digest, raw, parts = manifest
        content = self._content(digest, len(raw), repository.upstream)
        content = content._replace(media_type=parts.media_type, subject=parts.subject)
        record = MembershipRecord(parts.media_type, None, Grant.OPERATOR)
        if not await self._space.keep(
            content, raw, Provenance(repository, parts.children, record), f"{digest} of {repository}"
        ):
            raise NoSpace(f"there is no room for {digest} below cache.max_size and min_free")

    def _content(self, digest: Digest, size: int, upstream: str) -> Content:
        now = self._holdings.now()
        return Content(digest, size, "", now, now, upstream)

    async def _write(self, arrival: Arrival, digest: Digest, size: int, pieces: AsyncIterator[bytes]) -> None:
        hasher, received = Hasher(digest), 0
        async with one_behind(self._holdings.threads.behind) as take:
            async for piece in pieces:
                received += len(piece)
                if received > size:
                    break
                await take(partial(_take, arrival, hasher, piece))
        if received != size or not hasher.agrees():
            raise RequestFault(f"the bytes are not those of {digest}")


def _take(arrival: Arrival, hasher: Hasher, piece: bytes) -> None:
    arrival.ingest.write(hasher.count, piece)
    hasher.update(piece)
