"""What is held, for people who look: repositories, their images, and one image down to its layers. Nothing is asked of
any upstream for it, and nothing counts as used by it."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy.cache.holdings import Holdings
from proxy.cache.lifecycle import Lifecycle
from proxy.cache.pins import Pins
from proxy.core.errors import ManifestUnknown
from proxy.core.graph import Node
from proxy.core.inventory import LARGEST_CONFIG, ListedPart, configured_platform, listed_parts, own_contents
from proxy.core.names import Digest, Reference, Repository, Tag
from proxy.core.parts import DEEPEST
from proxy.storage.contract import Content, Held, HeldImage, TagRecord

_MOST_PARTS = 20_000  # listed of one image; manifests beyond are not gone down into


@dataclass(slots=True)
class HeldRepository:
    """``size`` is in bytes, what its images share counted for each of them; ``used_at`` in seconds since the epoch."""

    repository: Repository
    images: int = 0
    tags: int = 0
    size: int = 0
    used_at: float = 0.0


class InventoryImage(NamedTuple):
    """An image that stands for itself: tagged, or part of no index of its repository."""

    repository: Repository
    held: HeldImage
    pinned_by: str | None  # the pattern of a pin


class ShownPart(NamedTuple):
    """``depth`` is 0 for what the image itself lists; ``size`` in bytes, as it is held or else as it is claimed."""

    part: ListedPart
    depth: int
    size: int | None
    is_held: bool
    is_shared: bool


@dataclass(slots=True)
class ShownImage:
    """``tag`` is how its own was looked up, None where it was by digest. ``size`` is all that is held of it, ``shared``
    what of that other images need too; ``missing`` counts parts that are listed and not held."""

    repository: Repository
    held: Held
    image: HeldImage | None
    tag: TagRecord | None = None
    platform: str | None = None
    pinned_by: str | None = None
    also_in: tuple[Repository, ...] = ()
    indexes: tuple[Digest, ...] = ()
    referrers: tuple[Content, ...] = ()
    parts: list[ShownPart] = field(default_factory=list)
    size: int = 0
    shared: int = 0

    @property
    def missing(self) -> int:
        return sum(not each.is_held for each in self.parts)


class Inventory:
    """Reads ``lifecycle``'s lists of what is held, which are never held whole."""

    def __init__(self, holdings: Holdings, lifecycle: Lifecycle, pins: Pins) -> None:
        self._holdings = holdings
        self._lifecycle = lifecycle
        self._pins = pins

    async def repositories(self, pattern: str) -> AsyncGenerator[HeldRepository, None]:
        """Those that fit, by name, with sums over their images. Raises StoreFailed."""
        await self._holdings.flush()
        async for repository in self._lifecycle.repositories(pattern):
            found = HeldRepository(repository)
            async with aclosing(self._images(repository)) as images:
                async for each in images:
                    found.images += 1
                    found.tags += len(each.held.tags)
                    found.size += each.held.size
                    found.used_at = max(found.used_at, each.held.content.used_at)
            yield found

    async def images(self, pattern: str) -> AsyncGenerator[InventoryImage, None]:
        """Of all repositories that fit. Raises StoreFailed."""
        await self._holdings.flush()
        async for repository in self._lifecycle.repositories(pattern):
            async with aclosing(self._images(repository)) as images:
                async for each in images:
                    yield each

    async def show(self, repository: Repository, reference: Reference) -> ShownImage:
        """Raises ManifestUnknown where it is not held, StoreFailed."""
        await self._holdings.flush()
        catalog, tag = self._holdings.catalog, None
        if isinstance(reference, Tag):
            tag = await catalog.tags.get(repository, reference)
            if tag is None:
                raise ManifestUnknown(f"{repository}:{reference} is not held")
        digest = tag.digest if tag is not None else Digest(reference)
        held = await catalog.memberships.held(repository, digest)
        if held is None or not held.membership.media_type:
            raise ManifestUnknown(f"{repository}@{digest} is not held as an image")
        shown = ShownImage(repository, held, await self._image(repository, digest), tag)
        await self._describe(shown)
        return shown

    async def homes(self, digest: Digest) -> Sequence[Repository]:
        """The repositories that may have it, by name. Raises StoreFailed."""
        nodes = (await self._holdings.catalog.contents.closure([digest])).nodes
        return [place.repository for node in nodes if node.digest == digest for place in node.places]

    async def _images(self, repository: Repository) -> AsyncGenerator[InventoryImage, None]:
        indexes = self._holdings.catalog.memberships.indexes
        async with aclosing(self._lifecycle.images(repository)) as images:
            async for held in images:
                digest = held.content.digest
                if held.tags or not await indexes(repository, digest):
                    yield InventoryImage(repository, held, self._pins.covering(str(repository), held.tags, digest))

    async def _image(self, repository: Repository, digest: Digest) -> HeldImage | None:
        before = f"{digest[:-1]}{chr(ord(digest[-1]) - 1)}"
        found = await self._holdings.catalog.contents.images(repository, before, 1)
        return found[0] if found and found[0].content.digest == digest else None

    async def _describe(self, shown: ShownImage) -> None:
        digest, name, catalog = shown.held.content.digest, str(shown.repository), self._holdings.catalog
        nodes = {node.digest: node for node in (await catalog.contents.closure([digest])).nodes}
        if digest not in nodes:  # let go meanwhile
            raise ManifestUnknown(f"{name}@{digest} is not held any more")
        own = own_contents(digest, nodes)
        shown.size = sum(nodes[each].size for each in own)
        shown.shared = sum(nodes[each].size for each, is_shared in own.items() if is_shared)
        places = nodes[digest].places
        shown.also_in = tuple(place.repository for place in places if place.repository != shown.repository)
        shown.indexes = tuple(
            each.content.digest for each in await catalog.memberships.indexes(shown.repository, digest)
        )
        referrers = await catalog.memberships.referrers(shown.repository, digest)
        shown.referrers = tuple(each.content._replace(media_type=each.membership.media_type) for each in referrers)
        shown.pinned_by = self._pins.covering(name, shown.image.tags if shown.image is not None else (), digest)
        await self._list(shown, shown.held.content, nodes, own, 0)
        for each in shown.parts:
            if each.part.role == "config" and each.depth == 0:
                shown.platform = await self._platform(each.part.digest)

    async def _list(
        self, shown: ShownImage, manifest: Content, nodes: Mapping[Digest, Node], own: Mapping[Digest, bool], depth: int
    ) -> None:
        raw = await self._holdings.read(manifest) if len(shown.parts) < _MOST_PARTS else None
        listed = {each.part.digest for each in shown.parts}
        for part in await self._holdings.turns.run(listed_parts(raw)) if raw is not None else ():
            node = nodes.get(part.digest)
            size = node.size if node is not None else part.size
            shown.parts.append(ShownPart(part, depth, size, node is not None, own.get(part.digest, False)))
            if node is not None and part.role == "manifest" and depth < DEEPEST and part.digest not in listed:
                child = await self._holdings.catalog.contents.get(part.digest)
                if child is not None:
                    await self._list(shown, child, nodes, own, depth + 1)

    async def _platform(self, config: Digest) -> str | None:
        content = await self._holdings.catalog.contents.get(config)
        if content is None or content.size > LARGEST_CONFIG:
            return None
        raw = await self._holdings.read(content)
        return await self._holdings.turns.run(configured_platform(raw)) if raw is not None else None
