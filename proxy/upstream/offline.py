"""A registry that is not to be asked: every question is an outage, at once, and nothing leaves the machine."""

from proxy.core.errors import UpstreamOffline
from proxy.core.names import Digest, Reference
from proxy.core.transfer import Transfer
from proxy.upstream.contract import FetchedManifest, PingResult, Pointed, ReferrersPage, TagsPage


class OfflineRegistry:
    """``Registry``, of which each call raises UpstreamOffline."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.forwards = False

    async def manifest(self, name: str, reference: Reference) -> FetchedManifest:
        raise UpstreamOffline(self.name)

    async def manifest_digest(self, name: str, reference: Reference) -> Pointed:
        raise UpstreamOffline(self.name)

    async def blob(self, name: str, digest: Digest, offset: int = 0, end: int | None = None) -> Transfer:
        raise UpstreamOffline(self.name)

    async def check_blob(self, name: str, digest: Digest, size: int | None) -> None:
        raise UpstreamOffline(self.name)

    async def blob_size(self, name: str, digest: Digest) -> int | None:
        raise UpstreamOffline(self.name)

    def reconnect(self) -> None:
        """There is no connection."""

    async def ping(self) -> PingResult:
        raise UpstreamOffline(self.name)

    async def tags(self, name: str, query: str) -> TagsPage:
        raise UpstreamOffline(self.name)

    async def referrers(self, name: str, digest: Digest, query: str) -> ReferrersPage:
        raise UpstreamOffline(self.name)

    async def close(self) -> None:
        """Nothing is open."""
