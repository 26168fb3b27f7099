"""Which platform of a held index is missing, for who pulls an image of which only other platforms are held."""

from proxy.cache.holdings import Holdings
from proxy.core.errors import StoreFailed
from proxy.core.manifests import platform_of
from proxy.core.names import Digest, Reference, Repository


async def missing_platform(holdings: Holdings, repository: Repository, child: Reference) -> str:
    """A part of a sentence; empty where no held index of the repository that can be read names a platform for it."""
    if not isinstance(child, Digest):
        return ""
    try:
        for held in await holdings.catalog.memberships.indexes(repository, child):
            raw = await holdings.read(held.content)
            platform = await holdings.turns.run(platform_of(raw, child)) if raw is not None else None
            if platform is not None:
                return f"it is {platform} of the index {held.content.digest}, which is held without that platform"
    except StoreFailed:
        pass
    return ""
