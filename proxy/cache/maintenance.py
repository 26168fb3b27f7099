"""What an operator asks of what is held: let it go by order, keep it, look at it."""

from collections.abc import AsyncGenerator
from typing import NamedTuple

from proxy.cache.holdings import Holdings
from proxy.cache.lifecycle import Lifecycle
from proxy.cache.retention import Retention
from proxy.cache.scrub import Scrub
from proxy.cache.space import Space
from proxy.core.errors import DigestInvalid
from proxy.core.graph import Membership, Removal, Removed
from proxy.core.names import Digest, Repository, Tag
from proxy.core.patterns import ContentPattern

_BATCH = 200


class Gone(NamedTuple):
    """One image or blob that was meant."""

    repository: Repository | None  # None for content that was meant wherever it is held
    digest: Digest
    tags: tuple[Tag, ...]
    stays: bool  # pinned, in use, or child of an index that stays
    pinned_by: str | None = None  # the pin's pattern, where it stays for that


class Purge(NamedTuple):
    """A portion of a purge, and the bytes that are freed by it."""

    gone: list[Gone]
    size: int


class Maintenance:
    def __init__(
        self, holdings: Holdings, space: Space, retention: Retention, lifecycle: Lifecycle, scrub: Scrub
    ) -> None:
        self.space = space
        self.retention = retention
        self.lifecycle = lifecycle
        self.scrub = scrub
        self._holdings = holdings

    def unpinned(self) -> "Maintenance":
        """The same, but pins hold nothing back: a purge by force."""
        return Maintenance(self._holdings, self.space, self.retention.unpinned(), self.lifecycle, self.scrub)

    async def held_matches(self, pattern: str) -> tuple[int, int]:
        """How many images or blobs are held that the pattern means, and their bytes. Raises StoreFailed."""
        single = await self._single(pattern)
        if single is not None:
            content = await self._holdings.catalog.contents.get(single)
            return (1, content.size) if content is not None else (0, 0)
        meant = ContentPattern.parse(pattern)
        count = size = 0
        async for repository in self.lifecycle.repositories(meant.repository):
            async for image in self.lifecycle.images(repository):
                if meant.covers(str(repository), image.tags, image.content.digest):
                    count, size = count + 1, size + image.size
        return count, size

    async def purge(self, target: str) -> AsyncGenerator[Purge, None]:
        """``target`` is a digest, or a pattern over REGISTRY/REPOSITORY, with :TAG or @DIGEST behind it or nothing."""
        digest = await self._single(target)
        if digest is not None:
            yield await self._purge(digest)
            return
        pattern = ContentPattern.parse(target)
        async for repository, meant in self._meant(pattern):
            removal, stays = await self.retention.expire(list(meant))
            yield self._portion(repository, meant, removal, stays)
        await self.retention.tidy()

    async def preview_purge(self, target: str) -> AsyncGenerator[Purge, None]:
        """What ``purge`` would let go. Changes nothing."""
        digest = await self._single(target)
        if digest is not None:
            content = await self._holdings.catalog.contents.get(digest)
            if content is not None:
                pin = await self._pin_of(digest)
                yield Purge([Gone(None, digest, (), pin is not None, pin)], 0 if pin else content.size)
            return
        removed = Removed()
        async for repository, meant in self._meant(ContentPattern.parse(target)):
            removal, stays = await self.retention.weigh(list(meant), removed)
            yield self._portion(repository, meant, removal, stays)

    async def _single(self, target: str) -> Digest | None:
        """The one content that is meant: by its digest alone, or a blob by repository and digest."""
        names, at, written = target.rpartition("@")
        upstream, _, name = names.partition("/")
        try:
            digest = Digest.parse(written)
        except DigestInvalid:
            return None
        if not at:
            return digest
        held = await self._holdings.catalog.memberships.held(Repository(upstream, name), digest)
        return digest if held is not None and not held.content.media_type else None

    async def _purge(self, digest: Digest) -> Purge:
        if await self._holdings.catalog.contents.get(digest) is None:
            return Purge([], 0)
        pin = await self._pin_of(digest)
        removal = await self.retention.purge(digest)
        stays = not removal.freed
        return Purge([Gone(None, digest, (), stays, pin if stays else None)], removal.size)

    async def _pin_of(self, digest: Digest) -> str | None:
        """The pin that holds on to it anywhere."""
        for node in (await self._holdings.catalog.contents.closure([digest])).nodes:
            if node.digest != digest:
                continue
            for place in node.places:
                pin = self.retention.pins.covering(str(place.repository), place.tags, digest)
                if pin is not None:
                    return pin
        return None

    async def _meant(
        self, pattern: ContentPattern
    ) -> AsyncGenerator[tuple[Repository, dict[Membership, tuple[Tag, ...]]], None]:
        async for repository in self.lifecycle.repositories(pattern.repository):
            meant: dict[Membership, tuple[Tag, ...]] = {}
            async for image in self.lifecycle.images(repository):
                if pattern.covers(str(repository), image.tags, image.content.digest):
                    meant[Membership(repository, image.content.digest)] = image.tags
                if len(meant) == _BATCH:
                    yield repository, meant
                    meant = {}
            if meant:
                yield repository, meant

    def _portion(
        self,
        repository: Repository,
        meant: dict[Membership, tuple[Tag, ...]],
        removal: Removal,
        stays: list[Membership],
    ) -> Purge:
        kept, pins = set(stays), self.retention.pins
        gone = []
        for membership, tags in meant.items():
            stay = membership in kept
            pin = pins.covering(str(repository), tags, membership.digest) if stay else None
            gone.append(Gone(repository, membership.digest, tags, stay, pin))
        return Purge(gone, removal.size)
