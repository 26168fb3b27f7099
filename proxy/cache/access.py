"""Held is not allowed: may this repository's readers have this blob?

Membership is won by upstream's own answer and by nothing else: neither presence in the store nor a manifest that lists
a digest grants it.
"""

import asyncio
from collections.abc import Callable

from proxy.cache.holdings import Holdings
from proxy.core.errors import BlobUnknown
from proxy.core.names import Digest, Repository
from proxy.core.tables import BoundedTable, of_repository
from proxy.storage.contract import MembershipRecord
from proxy.tasks.flights import Flights
from proxy.upstream.contract import Registry

_REMEMBERED = 4 << 20  # bytes


class Access:
    """Remembers absences for ``negative_ttl`` seconds; grants are the catalog's memberships."""

    def __init__(
        self,
        holdings: Holdings,
        registry: Callable[[str], Registry],
        negative_ttl: float,
        group: asyncio.TaskGroup,
        now: Callable[[], float],
    ) -> None:
        self._holdings = holdings
        self._registry = registry
        self._now = now
        self._checks: Flights[tuple[Repository, Digest], None] = Flights(group)
        self._absent: BoundedTable[tuple[Repository, Digest], bool] = holdings.tables.table(
            "absent blobs", _REMEMBERED, negative_ttl, of_repository
        )

    async def require(self, repository: Repository, digest: Digest, size: int | None) -> None:
        """Returns when allowed; asks upstream where that is not known, for a blob of ``size`` bytes.
        Raises BlobUnknown, or upstream's fault."""
        key = (repository, digest)
        if await self._holdings.allowed(repository, digest):
            return
        self.refuse_absent(repository, digest)
        await self._checks.join(key, lambda: self._check(repository, digest, size))

    async def grant(self, repository: Repository, digest: Digest) -> None:
        """Upstream gave it to this repository."""
        await self._holdings.allow(repository, digest, MembershipRecord("", self._now()))

    def deny(self, repository: Repository, digest: Digest) -> None:
        """Upstream does not have it there."""
        self._absent.put((repository, digest), True)

    def refuse_absent(self, repository: Repository, digest: Digest) -> None:
        """Raises BlobUnknown where that was upstream's answer a moment ago."""
        if (repository, digest) in self._absent:
            raise _absence(repository, digest)

    async def _check(self, repository: Repository, digest: Digest, size: int | None) -> None:
        if await self._registry(repository.upstream).has_blob(repository.name, digest, size):
            await self.grant(repository, digest)
            return
        self.deny(repository, digest)
        await self._holdings.disallow(repository, digest)
        raise _absence(repository, digest)


def _absence(repository: Repository, digest: Digest) -> BlobUnknown:
    return BlobUnknown(f"{repository} has no blob {digest}")
