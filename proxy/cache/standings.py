"""What upstream last said of whole repositories: a yes to anything of one renews it, a clear refusal suspends it.

A 401, a 403 or NAME_UNKNOWN (distribution-spec "Error Codes") is about the repository, whatever of it was asked for.
Our own credential may be what is refused, though: then it is refused elsewhere too, and that is an outage of ours.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from proxy.cache.holdings import Holdings, readable
from proxy.core.errors import (
    Absent,
    CredentialsFailed,
    Fault,
    NameUnknown,
    NoSpace,
    StoreFailed,
    UpstreamRefused,
    afresh,
)
from proxy.core.names import Repository
from proxy.core.tables import BoundedTable, of_upstream
from proxy.storage.contract import RepositoryRecord, Witness
from proxy.tasks.flights import Flights
from proxy.upstream.contract import Registry

log = logging.getLogger("entrepot.access")

_REMEMBERED = 8 << 20  # bytes
_WRITTEN_EVERY = 600.0  # seconds: what a crash may forget of a yes
_JUDGED_FOR = 10.0  # seconds
_UNJUDGED = Fault()


class _Known(NamedTuple):
    record: RepositoryRecord
    written_at: float


class Standings:
    """``registry(upstream)`` gives the registry of a configured upstream, ``outlives(repository)`` says whether a pin
    keeps something of the repository after upstream has deleted it."""

    def __init__(
        self,
        holdings: Holdings,
        registry: Callable[[str], Registry],
        outlives: Callable[[Repository], bool],
        group: asyncio.TaskGroup,
        now: Callable[[], float],
    ) -> None:
        self._holdings = holdings
        self._memberships = holdings.catalog.memberships
        self._registry = registry
        self.outlives = outlives
        self._now = now
        table = holdings.tables.table
        self._known: BoundedTable[Repository, _Known] = table("standings", _REMEMBERED, None, of_upstream)
        self._judging: Flights[Repository, Fault | None] = Flights(group)
        self._judged: BoundedTable[Repository, Fault | None] = table("judged", _REMEMBERED, _JUDGED_FOR, of_upstream)

    def peek(self, repository: Repository) -> RepositoryRecord | None:
        """As ``find``, if it is in memory. Never waits."""
        known = self._known.get(repository)
        return known.record if known is not None else None

    async def find(self, repository: Repository) -> RepositoryRecord | None:
        """None where nothing is known of the repository; a catalog that cannot be read knows of nothing."""
        known = self.peek(repository)
        if known is not None:
            return known
        record = await readable(self._memberships.repository(repository))
        if record is not None and repository not in self._known:
            self._known.put(repository, _Known(record, record.confirmed_at or 0.0))
        return record

    async def is_suspended(self, repository: Repository) -> bool:
        record = await self.find(repository)
        return record is not None and record.refused_at is not None

    async def renew(self, repository: Repository) -> None:
        """Upstream just said yes to something of it."""
        now, known = self._now(), self._known.get(repository)
        due = known is None or known.record.refused_at is not None or abs(now - known.written_at) > _WRITTEN_EVERY
        written_at = now if known is None or due else known.written_at
        self._known.put(repository, _Known(RepositoryRecord(now), written_at))
        if due:
            with suppress(NoSpace, StoreFailed):  # then the next start asks again
                await self._memberships.renew(repository, now)

    async def judged(self, repository: Repository, refusal: Absent | UpstreamRefused) -> Fault:
        """What to tell of it: the refusal, behind which nothing of the repository is served any more if it is one of
        all of it; or that it is our own credential which is refused."""
        whole = isinstance(refusal, UpstreamRefused) or (
            isinstance(refusal, NameUnknown) and not self.outlives(repository)
        )
        if not whole or await self.find(repository) is None:
            return refusal
        verdict: Fault | None = self._judged.get(repository, _UNJUDGED)
        if verdict is _UNJUDGED:
            verdict = await self._judging.join(repository, lambda: self._judge(repository, refusal))
            self._judged.put(repository, verdict)
        return afresh(verdict) if verdict is not None else refusal

    async def _judge(self, repository: Repository, refusal: Fault) -> Fault | None:
        """None where the refusal is about the repository, which is suspended."""
        if isinstance(refusal, UpstreamRefused) and await self._refused_elsewhere(repository):
            return CredentialsFailed(repository.upstream, "it refuses our credentials for other repositories as well")
        now = self._now()
        self._known.put(repository, _Known(RepositoryRecord(None, now), now))
        self._holdings.generations.advance_all()
        log.warning("%s is not served until its registry allows it again: %s", repository, refusal)
        with suppress(NoSpace, StoreFailed):
            await self._memberships.suspend(repository, now)
        return None

    async def _refused_elsewhere(self, repository: Repository) -> bool:
        """Whatever keeps us from asking says nothing against the refusal."""
        registry = self._registry(repository.upstream)
        try:
            if (await registry.ping()).accepted is False:
                return True
            witness = await self._memberships.witness(repository)
            if witness is not None:
                await _ask_after(registry, witness)
        except UpstreamRefused:
            return True
        except Fault as fault:
            log.info("whether our credentials for %s work elsewhere is not known: %s", repository.upstream, fault)
        return False


async def _ask_after(registry: Registry, witness: Witness) -> None:
    """Raises UpstreamRefused and what else upstream says."""
    if witness.media_type:
        await registry.manifest_digest(witness.repository.name, witness.digest)
    else:
        await registry.blob_size(witness.repository.name, witness.digest)
