"""What is held as whole images, for an operator who carries them elsewhere. Nothing is fetched for it."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from proxy.cache.access import Access
from proxy.cache.body import HeldBody
from proxy.cache.holdings import Holdings
from proxy.cache.lifecycle import Lifecycle
from proxy.core.errors import BlobUnknown, Fault
from proxy.core.manifests import ManifestInvalid
from proxy.core.names import Digest, Repository, Tag
from proxy.core.parts import DEEPEST, ImageParts, parts_of
from proxy.core.patterns import ContentPattern, fits
from proxy.core.referrers import cosign_tags, fallback_tag


@dataclass(slots=True)
class HeldWhole:
    """An image with all that it needs. ``manifests`` come after those that they refer to; ``absent`` are those of an
    index that are not held whole; ``missing`` are blobs without which the image is none."""

    repository: Repository
    digest: Digest
    tags: tuple[Tag, ...] = ()
    sizes: dict[Digest, int] = field(default_factory=dict)  # bytes of all contents
    manifests: list[Digest] = field(default_factory=list)
    absent: list[Digest] = field(default_factory=list)
    missing: list[Digest] = field(default_factory=list)

    def take(self, child: "HeldWhole") -> None:
        """A platform of this index."""
        self.sizes |= child.sizes
        self.manifests += child.manifests
        self.absent += child.absent


class Exports:
    """Only what is a repository's own by upstream's yes, or becomes so by one that can be had now, counts for it: a
    manifest that names a digest is a claim, and a bundle would make a right of it elsewhere."""

    def __init__(self, holdings: Holdings, access: Access, lifecycle: Lifecycle) -> None:
        self._holdings = holdings
        self._access = access
        self._lifecycle = lifecycle

    async def images(self, written: Sequence[str]) -> AsyncGenerator[HeldWhole, None]:
        """Those that one of the patterns means, children of an index only where they are named themselves; and what is
        held about them. Raises StoreFailed."""
        patterns = [ContentPattern.parse(each) for each in written]
        async for repository in self._lifecycle.repositories():
            mine = [each for each in patterns if fits(each.repository, str(repository))]
            if not mine:
                continue
            children: set[Digest] = set()
            meant: dict[Digest, tuple[Tag, ...]] = {}
            named: set[Digest] = set()
            async for image in self._lifecycle.images(repository):
                digest, tags = image.content.digest, image.tags
                children.update(image.manifests)
                covering = [each for each in mine if each.covers(str(repository), tags, digest)]
                if covering:
                    meant[digest] = tags
                if tags or any(each.digest is not None for each in covering):
                    named.add(digest)
            images = {digest: tags for digest, tags in meant.items() if digest in named or digest not in children}
            told = set(images)
            for digest, tags in images.items():
                async for found in self._with_referrers(repository, digest, tags, told):
                    yield found

    async def open(self, digest: Digest) -> HeldBody:
        """Raises BlobUnknown where it is not held, StoreFailed."""
        content = await self._holdings.catalog.contents.get(digest)
        body = await self._holdings.open(content) if content is not None else None
        if body is None:
            raise BlobUnknown(f"{digest} is not held")
        return body

    async def _with_referrers(
        self, repository: Repository, digest: Digest, tags: tuple[Tag, ...], told: set[Digest]
    ) -> AsyncGenerator[HeldWhole, None]:
        found = await self._whole(repository, digest, set())
        if found is None:
            return
        found.tags = tags
        yield found
        for manifest in found.manifests:
            for about, named in (await self._about(repository, manifest)).items():
                if about in told:
                    continue
                told.add(about)
                referrer = await self._whole(repository, about, set())
                if referrer is not None and not referrer.missing:
                    referrer.tags = named
                    yield referrer

    async def _about(self, repository: Repository, subject: Digest) -> dict[Digest, tuple[Tag, ...]]:
        """Manifests that say what they are about, and those that are found by a tag made of it."""
        catalog = self._holdings.catalog
        held = await catalog.memberships.referrers(repository, subject)
        found: dict[Digest, tuple[Tag, ...]] = {each.content.digest: () for each in held}
        for tag in (fallback_tag(subject), *cosign_tags(subject)):
            record = await catalog.tags.get(repository, tag)
            if record is not None:
                found[record.digest] = (*found.get(record.digest, ()), tag)
        return found

    async def _whole(self, repository: Repository, digest: Digest, above: set[Digest]) -> HeldWhole | None:
        """None where it is not held as a manifest of the repository."""
        held = await self._holdings.catalog.memberships.held(repository, digest)
        raw = await self._holdings.read(held.content) if held is not None and held.membership.media_type else None
        if held is None or raw is None or len(above) == DEEPEST:
            return None
        try:
            parts = await self._holdings.turns.run(parts_of(raw, held.membership.media_type))
        except ManifestInvalid:
            return None
        found = HeldWhole(repository, digest)
        await self._platforms(found, parts, {*above, digest})
        for blob in parts.blobs:
            size = await self._size(repository, blob)
            if size is None:
                found.missing.append(blob)
            else:
                found.sizes[blob] = size
        found.sizes[digest] = held.content.size
        found.manifests.append(digest)
        return found

    async def _platforms(self, found: HeldWhole, parts: ImageParts, above: set[Digest]) -> None:
        lacking: list[Digest] = []
        for child in parts.manifests:
            platform = await self._whole(found.repository, child, above)
            if platform is None or platform.missing:
                found.absent.append(child)
                lacking += platform.missing if platform is not None else [child]
            else:
                found.take(platform)
        if parts.manifests and not found.manifests:
            found.missing += lacking

    async def _size(self, repository: Repository, blob: Digest) -> int | None:
        """None where it is not held for the repository."""
        held = await self._holdings.catalog.memberships.held(repository, blob)
        if held is not None:
            return held.content.size
        content = await self._holdings.catalog.contents.get(blob)
        if content is None:
            return None
        try:
            return (
                content.size if await self._access.require(repository, blob, content.size, content.upstream) else None
            )
        except Fault:
            return None
