"""The operations that show what is held."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from proxy.admin.answering import Offer
from proxy.admin.inventory_messages import (
    INSPECT,
    LIST,
    ImageLine,
    InspectedImage,
    InspectedPart,
    InspectedReferrer,
    InspectRequest,
    ListEnd,
    ListRequest,
    ListSummary,
    RepositoryLine,
)
from proxy.cache.engine import Cache
from proxy.cache.inventory import HeldRepository, Inventory, InventoryImage, ShownImage, ShownPart
from proxy.core.errors import DigestInvalid, ManifestUnknown, NameInvalid, RequestFault, TagInvalid
from proxy.core.image_names import repository_named
from proxy.core.names import Digest, Reference, Repository, Tag
from proxy.core.patterns import ContentPattern

Listing = AsyncGenerator[RepositoryLine | ImageLine | ListEnd, None]
Inspection = AsyncGenerator[InspectedImage | InspectedPart, None]

_LONGEST = 1024  # characters of what is asked for


class InventoryOperations:
    """They show everybody's: for operators."""

    def __init__(self, cache: Cache) -> None:
        maintenance = cache.maintenance
        self._inventory = Inventory(cache.holdings, maintenance.lifecycle, maintenance.retention.pins)

    def offers(self) -> Sequence[Offer[Any, Any]]:
        """All of them, for the listener."""
        return Offer(LIST, self.list), Offer(INSPECT, self.inspect)

    def repositories(self, pattern: str) -> AsyncGenerator[HeldRepository, None]:
        """Those that fit a pattern over REGISTRY/REPOSITORY. Raises StoreFailed."""
        return self._inventory.repositories(pattern)

    async def list(self, request: ListRequest) -> Listing:
        """Raises RequestFault for what is no name, StoreFailed."""
        repositories = images = 0
        if request.repository is None:
            async with aclosing(self._inventory.repositories("*")) as found:
                async for each in found:
                    repositories, images = repositories + 1, images + each.images
                    yield _repository_line(each)
        else:
            names: set[Repository] = set()
            for pattern in _patterns(request.repository):
                async with aclosing(self._inventory.images(pattern)) as listed:
                    async for image in listed:
                        names.add(image.repository)
                        images += 1
                        yield _image_line(image)
                if images:
                    break
            repositories = len(names)
        yield ListEnd(summary=ListSummary(repositories=repositories, images=images))

    async def inspect(self, request: InspectRequest) -> Inspection:
        """Raises RequestFault for what is no reference, ManifestUnknown for what is not held, StoreFailed."""
        shown = await self._shown(request.reference)
        yield _inspected(shown)
        for part in shown.parts:
            yield _inspected_part(part)

    async def _shown(self, written: str) -> ShownImage:
        wanted = await self._meant(written)
        for place, (repository, reference) in enumerate(wanted, 1):
            try:
                return await self._inventory.show(repository, reference)
            except ManifestUnknown:
                if place == len(wanted):
                    raise
        raise ManifestUnknown(f"{written} is not held")

    async def _meant(self, written: str) -> Sequence[tuple[Repository, Reference]]:
        """What it may mean, the likeliest first."""
        try:
            if written.startswith(("sha256:", "sha512:")) and "/" not in written:
                digest = Digest.parse(written)
                return [(repository, digest) for repository in await self._inventory.homes(digest)]
            found = ContentPattern.parse(written[:_LONGEST])
            by_digest = found.digest is not None
            reference = Digest.parse(found.digest or "") if by_digest else Tag.parse(found.tag or "latest")
            return [(repository, reference) for repository in _named(found.repository)]
        except (DigestInvalid, TagInvalid, NameInvalid) as wrong:
            raise RequestFault(f"reference: {wrong}") from None


def _patterns(written: str) -> Sequence[str]:
    """As it is written, then as people mean it."""
    if not written or len(written) > _LONGEST:
        raise RequestFault("repository: a name, or a pattern over REGISTRY/REPOSITORY")
    if "*" in written or "?" in written:
        return (written,)
    try:
        return tuple(dict.fromkeys((written, str(repository_named(written)))))
    except NameInvalid:
        return (written,)


def _named(written: str) -> Sequence[Repository]:
    """An upstream may have a name that looks like no host's. Raises NameInvalid."""
    first, slash, rest = written.partition("/")
    literal = [Repository(first, rest)] if slash else []
    return list(dict.fromkeys([repository_named(written), *literal]))


def _repository_line(each: HeldRepository) -> RepositoryLine:
    return RepositoryLine(
        repository_name=str(each.repository),
        images=each.images,
        tags=each.tags,
        size_in_bytes=each.size,
        used_at=each.used_at,
    )


def _image_line(each: InventoryImage) -> ImageLine:
    return ImageLine(
        repository_name=str(each.repository),
        image_digest=each.held.content.digest,
        image_tags=each.held.tags,
        media_type=each.held.content.media_type,
        manifests=len(each.held.manifests),
        image_size_in_bytes=each.held.size,
        cached_at=each.held.cached_at,
        used_at=each.held.content.used_at,
        pinned_by=each.pinned_by,
    )


def _inspected(shown: ShownImage) -> InspectedImage:
    content, membership = shown.held.content, shown.held.membership
    return InspectedImage(
        repository_name=str(shown.repository),
        image_digest=content.digest,
        image_tags=shown.image.tags if shown.image is not None else (),
        media_type=membership.media_type,
        platform=shown.platform,
        size=content.size,
        image_size_in_bytes=shown.size,
        shared_bytes=shown.shared,
        missing=shown.missing,
        upstream=content.upstream,
        cached_at=shown.image.cached_at if shown.image is not None else content.created_at,
        used_at=content.used_at,
        checked_at=shown.tag.checked_at if shown.tag is not None else None,
        granted_by=membership.grant.value,
        confirmed_at=membership.confirmed_at,
        pinned_by=shown.pinned_by,
        subject=content.subject,
        also_in=tuple(map(str, shown.also_in)),
        indexes=shown.indexes,
        referrers=tuple(
            InspectedReferrer(digest=each.digest, media_type=each.media_type, size=each.size)
            for each in shown.referrers
        ),
    )


def _inspected_part(each: ShownPart) -> InspectedPart:
    return InspectedPart.model_validate(
        {
            "digest": each.part.digest,
            "role": each.part.role,
            "depth": each.depth,
            "media_type": each.part.media_type,
            "size": each.size,
            "platform": each.part.platform,
            "held": each.is_held,
            "shared": each.is_shared,
        }
    )
