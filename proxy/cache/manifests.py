"""Manifests by digest and by tag. Content by digest does not age; a tag is believed for a while, then checked.

An upstream that does not answer, or not as a registry, leaves a known tag served stale; a clear no is believed at once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from proxy.cache.access import Access
from proxy.cache.answers import ManifestAnswer, Outcome
from proxy.cache.holdings import Holdings, Provenance
from proxy.cache.platforms import missing_platform
from proxy.cache.space import Space
from proxy.cache.tags import Tags
from proxy.core.errors import (
    Absent,
    Fault,
    NoSpace,
    Outage,
    StoreFailed,
    UpstreamBroken,
    UpstreamFault,
    UpstreamOffline,
    UpstreamRefused,
    WrongBytes,
    afresh,
    explained,
)
from proxy.core.freshness import Standing, age
from proxy.core.names import Digest, Reference, Repository, Tag
from proxy.core.second_hand import NO_REMARKS
from proxy.core.tables import BoundedTable, of_repository
from proxy.core.via import Hops
from proxy.storage.contract import Content, Grant, TagRecord
from proxy.tasks.flights import Flights
from proxy.tasks.hops import CAME_BY, SCOPE
from proxy.tasks.jobs import Jobs
from proxy.upstream.contract import FetchedManifest, Registry

log = logging.getLogger("entrepot.manifest")

Key = tuple[Repository, Reference]

_LOOK_AGAIN = 60.0  # seconds
_LIMIT = 4 << 20  # bytes of each table
_AUDIT_AGAIN = 3600.0  # seconds after an audit that failed


class Manifests:
    """``registry(upstream)`` gives the registry of a configured upstream; ``served`` hears of every digest
    served."""

    def __init__(
        self,
        holdings: Holdings,
        space: Space,
        access: Access,
        tags: Tags,
        registry: Callable[[str], Registry],
        served: Callable[[Repository, Digest], None],
        jobs: Jobs,
    ) -> None:
        self.tags = tags
        self._holdings = holdings
        self._space = space
        self._access = access
        self._registry = registry
        self._served = served
        self._jobs = jobs
        self._now = tags.now
        self._flights: Flights[tuple[Key, Hops, bytes], ManifestAnswer] = Flights(jobs.group)
        table, absent_for = holdings.tables.table, tags.rules.negative_ttl
        self._audited: BoundedTable[Key, bool] = table("tag audits", _LIMIT, _AUDIT_AGAIN, of_repository)
        self._absent: BoundedTable[tuple[Repository, Reference, bytes], Absent] = table(
            "absent manifests", _LIMIT, absent_for, of_repository
        )

    async def get(self, repository: Repository, reference: Reference) -> ManifestAnswer:
        """Raises ManifestUnknown, NameUnknown, and upstream's faults."""
        if isinstance(reference, Digest):
            return await self._by_digest(repository, reference)
        return await self._by_tag(repository, reference)

    def peek(self, repository: Repository, reference: Reference) -> tuple[ManifestAnswer, float] | None:
        """A hit that needs nothing but memory, by digest or by a fresh tag, and until when it may be repeated without
        looking again, unless the holdings change. Never waits."""
        digest, until = reference, self._now() + _LOOK_AGAIN
        if not isinstance(digest, Digest):
            record = self.tags.peek(repository, digest)
            if record is None or self.tags.standing(repository, digest, record) is not Standing.FRESH:
                return None
            self._audit_behind(repository, digest, record)
            digest, until = record.digest, min(until, self.tags.fresh_until(record))
        found = self._holdings.peek(repository, digest)
        if found is None or not found[0].membership.media_type:
            return None
        allowed_until = self._access.peek(repository, found[0])
        if allowed_until is None:
            return None
        self._served(repository, digest)
        answer = ManifestAnswer(digest, found[0].membership.media_type, found[1], Outcome.HIT)
        return answer, min(until, allowed_until)

    async def _by_digest(self, repository: Repository, digest: Digest) -> ManifestAnswer:
        return await self._held(repository, digest, Outcome.HIT) or await self._unheld(repository, digest)

    async def _by_tag(self, repository: Repository, tag: Tag) -> ManifestAnswer:
        record = await self.tags.find(repository, tag)
        if record is None:
            return await self._unheld(repository, tag)
        standing = self.tags.standing(repository, tag, record)
        if standing is not Standing.FRESH:
            return await self._revalidated(repository, tag, record, standing)
        self._audit_behind(repository, tag, record)
        return await self._by_digest(repository, record.digest)

    async def _unheld(self, repository: Repository, reference: Reference) -> ManifestAnswer:
        """What only upstream has; a no says what it is, an outage that nothing is held to answer with."""
        try:
            return await self._join((repository, reference), partial(self._fetch, repository, reference))
        except (Outage, Absent) as cause:
            if await self._access.standings.is_suspended(repository):
                raise
            platform = await missing_platform(self._holdings, repository, reference)
            if not platform and isinstance(cause, Absent):
                raise
            raise explained(cause, platform or f"{reference} is not held here") from cause

    async def _revalidated(
        self, repository: Repository, tag: Tag, record: TagRecord, standing: Standing
    ) -> ManifestAnswer:
        """What upstream says; where it says nothing, or what is pinned is gone there, what is held."""
        held = await self._held(repository, record.digest, Outcome.STALE)
        if held is None:
            return await self._join((repository, tag), partial(self._check, repository, tag, record))
        pinned = self.tags.is_pinned(repository, tag, record.digest)
        ordered = await self._is_ordered(repository, record)
        kept = standing is Standing.STALE or pinned or ordered
        try:
            async with asyncio.timeout(self.tags.rules.revalidate_timeout if kept else None):
                return await self._join((repository, tag), partial(self._check, repository, tag, record))
        except UpstreamOffline:
            return held._replace(outcome=Outcome.OFFLINE)
        except (Outage, UpstreamBroken, WrongBytes, TimeoutError) as cause:
            if isinstance(cause, UpstreamFault) and not kept:
                hint = f"{record.digest} is held, and is not served any more: tags.stale_if_error decides for how long"
                raise explained(cause, hint) from cause
            return self._stale(repository, tag, record, held, "upstream does not answer", cause)
        except (Absent, UpstreamRefused) as cause:
            if ordered:
                return self._stale(repository, tag, record, held, "imported here, and refused upstream", cause)
            if not pinned or isinstance(cause, UpstreamRefused):
                raise
            return self._stale(repository, tag, record, held, "pinned here, and gone upstream", cause)

    def _stale(
        self, repository: Repository, tag: Tag, record: TagRecord, held: ManifestAnswer, why: str, cause: Exception
    ) -> ManifestAnswer:
        log.warning("%s:%s is served stale: %s", repository, tag, str(cause) or "no answer in time")
        return held._replace(age=age(record.checked_at, self._now()), warning=f"served stale: {why}")

    async def _join(self, key: Key, run: Callable[[], Awaitable[ManifestAnswer]]) -> ManifestAnswer:
        scope = SCOPE.get()
        remembered = self._absent.get((*key, scope))
        if remembered is not None:
            raise afresh(remembered)
        flight = key, self._apart(key[0], hops) if (hops := CAME_BY.get()) else hops, scope
        first = flight not in self._flights
        answer = await self._flights.join(flight, run)
        return answer if first or answer.outcome is not Outcome.MISS else answer._replace(outcome=Outcome.COLLAPSED)

    def _apart(self, repository: Repository, hops: Hops) -> Hops:
        """Where another cache is asked, those who come through other caches do not wait with each other: two that ask
        each other in a circle would, each for what the other one waits for, and nothing would come back to tell."""
        return hops if self._registry(repository.upstream).forwards else ()

    async def _held(self, repository: Repository, digest: Digest, outcome: Outcome) -> ManifestAnswer | None:
        found = await self._holdings.find(repository, digest)
        if found is None or not found.membership.media_type or not await self._access.admit(repository, found):
            return None
        try:
            raw = await self._holdings.read(found.content)
        except (NoSpace, StoreFailed) as cause:
            log.error("%s is held and cannot be read: %s", digest, cause)
            return None
        if raw is None:
            return None
        self._served(repository, digest)
        return ManifestAnswer(digest, found.membership.media_type, raw, outcome)

    def _audit_behind(self, repository: Repository, tag: Tag, record: TagRecord) -> None:
        if self.tags.audit_is_due(record) and (repository, tag) not in self._audited:
            self._audited.put((repository, tag), True)
            self._jobs.once("tag audit", lambda: self._audit(repository, tag, record))

    async def _audit(self, repository: Repository, tag: Tag, record: TagRecord) -> None:
        try:
            found, _ = await self._registry(repository.upstream).manifest_digest(repository.name, tag)
            await self._access.standings.renew(repository)
            await self.tags.audited(repository, tag, record, found)
        except Fault as cause:
            log.info("%s:%s is immutable and was not looked at upstream: %s", repository, tag, cause)

    async def _check(self, repository: Repository, tag: Tag, record: TagRecord) -> ManifestAnswer:
        """Where the tag points now, by HEAD where we may already hold the answer: a HEAD costs no pull quota."""
        if await self._held(repository, record.digest, Outcome.REVALIDATED) is None:
            return await self._fetch(repository, tag)
        try:
            digest, remarks = await self._registry(repository.upstream).manifest_digest(repository.name, tag)
        except (Absent, UpstreamRefused) as refusal:
            raise await self._refused(repository, tag, refusal) from refusal
        await self._access.standings.renew(repository)
        confirmed = await self._held(repository, digest, Outcome.REVALIDATED)
        if confirmed is None:
            return await self._fetch(repository, tag)
        await self.tags.point(repository, tag, digest, remarks.second_hand)
        return confirmed.with_remarks(remarks)

    async def _fetch(self, repository: Repository, reference: Reference) -> ManifestAnswer:
        try:
            fetched = await self._registry(repository.upstream).manifest(repository.name, reference)
        except (Absent, UpstreamRefused) as refusal:
            raise await self._refused(repository, reference, refusal) from refusal
        await self._access.standings.renew(repository)
        kept = await self._keep(repository, fetched)
        if kept and not isinstance(reference, Digest):
            await self.tags.point(repository, reference, fetched.digest, fetched.remarks.second_hand)
        outcome = Outcome.MISS if kept else Outcome.BYPASS
        answer = ManifestAnswer(fetched.digest, fetched.facts.media_type, fetched.raw, outcome)
        if isinstance(reference, Digest) or fetched.remarks is NO_REMARKS:
            return answer
        return answer.with_remarks(fetched.remarks)

    async def _refused(self, repository: Repository, reference: Reference, refusal: Absent | UpstreamRefused) -> Fault:
        """What to tell. A no from upstream is no outage: what the tag pointed to is not served any more. A pin outlives
        a deletion there, but no withdrawal of the right to it; of a no to one client's own credential nobody else
        hears."""
        if isinstance(refusal, Absent):
            self._absent.put((repository, reference, SCOPE.get()), refusal)
        if isinstance(reference, Digest):
            return await self._access.refused(repository, reference, refusal)
        if self._access.is_by_client(repository.upstream):
            return refusal
        verdict = await self._access.standings.judged(repository, refusal)
        if isinstance(verdict, Absent | UpstreamRefused):
            await self._given_up(repository, reference, refusal)
        return verdict

    async def _is_ordered(self, repository: Repository, record: TagRecord) -> bool:
        """Whether an operator has ordered what the tag points to: upstream said no yes to it since, so its no takes
        nothing back."""
        known = await self._holdings.allowed(repository, record.digest)
        return known is not None and known.grant is Grant.OPERATOR

    async def _given_up(self, repository: Repository, reference: Tag, refusal: Absent | UpstreamRefused) -> None:
        record = await self.tags.find(repository, reference)
        if record is None or await self._is_ordered(repository, record):
            return
        if isinstance(refusal, UpstreamRefused) or not self.tags.is_pinned(repository, reference, record.digest):
            await self.tags.forget(repository, reference)

    async def _keep(self, repository: Repository, fetched: FetchedManifest) -> bool:
        """False where there is no room for it, or where it has another digest than its bytes, as signed schema 1 has:
        it is served all the same."""
        if fetched.is_signed:
            return False
        what = f"{fetched.digest} of {repository}"
        now = self._holdings.now()
        size, facts, upstream = len(fetched.raw), fetched.facts, repository.upstream
        content = Content(fetched.digest, size, facts.media_type, now, now, upstream, facts.subject)
        try:
            return await self._space.keep(content, fetched.raw, Provenance(repository, facts.children), what)
        except (NoSpace, StoreFailed) as cause:
            log.info("%s is not kept: %s", what, cause)
            return False
