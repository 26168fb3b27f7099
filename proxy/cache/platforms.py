"""Which platform of a held index is missing, for who pulls an image of which only other platforms are held."""

from proxy.cache.holdings import Holdings, readable
from proxy.core.manifests import platform_of
from proxy.core.names import Digest, Reference, Repository


async def missing_platform(holdings: Holdings, repository: Repository, child: Reference) -> str:
    """A part of a sentence; empty where no held index of the repository that can be read names a platform for it."""
    return (await readable(_told(holdings, repository, child)) or "") if isinstance(child, Digest) else ""


async def _told(holdings: Holdings, repository: Repository, child: Digest) -> str | None:
    for held in await holdings.catalog.memberships.indexes(repository, child):
        raw = await holdings.read(held.content)
        platform = await holdings.turns.run(platform_of(raw, child)) if raw is not None else None
        if platform is not None:
            return f"it is {platform} of the index {held.content.digest}, which is held without that platform"
    return None
