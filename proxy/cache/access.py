"""Held is not allowed: may this repository's readers have what is held?

Membership is won by upstream's own answer and by nothing else: neither presence in the store nor a manifest that lists
a digest grants it. Upstream's yes to bytes that somebody else brought counts only within a trust domain: who controls
another registry can let it say yes to any digest, but cannot make it send bytes that it does not have.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from proxy.cache.holdings import Holdings, readable
from proxy.cache.standings import Standings
from proxy.core.access import Right, Word
from proxy.core.errors import (
    Absent,
    BlobUnknown,
    Fault,
    ManifestUnknown,
    Outage,
    UpstreamRefused,
)
from proxy.core.names import Digest, Repository
from proxy.core.tables import BoundedTable, of_repository, of_upstream
from proxy.storage.contract import Grant, Held, MembershipRecord, RepositoryRecord
from proxy.tasks.flights import Flights
from proxy.tasks.hops import SCOPE
from proxy.tasks.jobs import Jobs
from proxy.upstream.contract import Registry

log = logging.getLogger("entrepot.access")

_REMEMBERED = 4 << 20  # bytes
_LOOK_AGAIN = 60.0  # seconds until a grant that is old is asked for once more


@dataclass(frozen=True, slots=True)
class AccessRules:
    """Durations in seconds. ``ttl`` and ``trust`` are by the name of an upstream."""

    ttl: Callable[[str], float]  # that a yes carries
    trust: Callable[[str], str]  # the domain within which another's bytes are served
    by_client: Callable[[str], bool]  # each client's own credential decides there, before anything is looked up
    negative_ttl: float  # that an absence is remembered


class Access:
    """Grants are the catalog's memberships; absences are remembered for a moment."""

    def __init__(
        self,
        holdings: Holdings,
        standings: Standings,
        registry: Callable[[str], Registry],
        rules: AccessRules,
        jobs: Jobs,
        now: Callable[[], float],
    ) -> None:
        self.standings = standings
        self.is_by_client = rules.by_client
        self._holdings = holdings
        self._registry = registry
        self._rules = rules
        self._jobs = jobs
        self._now = now
        self._checks: Flights[tuple[Repository, Digest, bytes], None] = Flights(jobs.group)
        table = holdings.tables.table
        self._absent: BoundedTable[tuple[Repository, Digest, bytes], bool] = table(
            "absent blobs", _REMEMBERED, rules.negative_ttl, of_repository
        )
        self._asked_again: BoundedTable[Repository, bool] = table(
            "grants asked again", _REMEMBERED, _LOOK_AGAIN, of_upstream
        )

    # ------------------------------------------------------------ of what is held for a repository

    async def admit(self, repository: Repository, held: Held) -> bool:
        """False where it is to be fetched through the repository's own upstream first. Raises what upstream says
        against it: Absent, UpstreamRefused; an outage only where it has said so before."""
        match self._right(repository, held.membership, await self.standings.find(repository)):
            case Right.OLD:
                self._ask_behind(repository, held)
            case Right.UNPROVEN:
                return await self._is_proven(repository, held)
            case Right.WITHDRAWN:
                await self._ask(repository, held)
        return True

    def peek(self, repository: Repository, held: Held) -> float | None:
        """As ``admit``, until when it holds, in seconds since the epoch; None where memory cannot tell. Never waits."""
        record = self.standings.peek(repository)
        if record is None:
            return None
        match self._right(repository, held.membership, record):
            case Right.SURE if self._is_settled(repository, held.membership):
                return float("inf")
            case Right.SURE if held.membership.grant is Grant.UPSTREAM:
                return _word(held.membership, record).sure_until(self._rules.ttl(repository.upstream))
            case Right.SURE:
                return float("inf")
            case Right.OLD:
                self._ask_behind(repository, held)
                return self._now() + _LOOK_AGAIN
            case _:
                return None

    # ------------------------------------------------------------ of what came for another repository

    async def require(self, repository: Repository, digest: Digest, size: int | None, upstream: str) -> bool:
        """True when allowed; asks upstream where that is not known, for a blob of ``size`` bytes which came or comes
        through ``upstream``. False where the bytes are those of another trust domain. Raises BlobUnknown, or
        upstream's fault."""
        known = await self._holdings.allowed(repository, digest)
        if known is not None:
            right = self._right(repository, known, await self.standings.find(repository))
            if right in (Right.SURE, Right.OLD):
                return True
        self.refuse_absent(repository, digest)
        if not await self.trusts(repository.upstream, digest, upstream):
            return False
        await self._checks.join((repository, digest, SCOPE.get()), lambda: self._check(repository, digest, size))
        return True

    async def trusts(self, upstream: str, digest: Digest, source: str) -> bool:
        """Whether bytes that came through ``source`` count for an upstream's readers; those of which nobody knows how
        they came do."""
        domain = self._rules.trust(upstream)
        if not source or self._rules.trust(source) == domain:
            return True
        brought = await readable(self._holdings.catalog.memberships.upstreams(digest))
        return any(self._rules.trust(each) == domain for each in brought or ())

    async def grant(self, repository: Repository, digest: Digest) -> None:
        """Upstream gave it to this repository."""
        await self._holdings.allow(repository, digest, MembershipRecord("", self._now()))
        await self.standings.renew(repository)

    def deny(self, repository: Repository, digest: Digest) -> None:
        """Upstream does not have it there."""
        self._absent.put((repository, digest, SCOPE.get()), True)

    def refuse_absent(self, repository: Repository, digest: Digest) -> None:
        """Raises BlobUnknown where that was upstream's answer a moment ago."""
        if (repository, digest, SCOPE.get()) in self._absent:
            raise _absence(repository, digest)

    # ------------------------------------------------------------ asking

    def _right(self, repository: Repository, membership: MembershipRecord, record: RepositoryRecord | None) -> Right:
        if membership.grant is Grant.OPERATOR or self._is_settled(repository, membership):
            return Right.SURE
        return _word(membership, record).right(self._now(), self._rules.ttl(repository.upstream))

    def _is_settled(self, repository: Repository, membership: MembershipRecord) -> bool:
        """Whoever comes here has upstream's yes to the repository, and upstream gave it what is held for it."""
        return self.is_by_client(repository.upstream) and membership.confirmed_at is not None

    def _ask_behind(self, repository: Repository, held: Held) -> None:
        """One yes renews the repository, so one question is enough for all of it."""
        if repository not in self._asked_again:
            self._asked_again.put(repository, True)
            self._jobs.once("access", lambda: self._ask_again(repository, held))

    async def _ask_again(self, repository: Repository, held: Held) -> None:
        try:
            await self._ask(repository, held)
        except Fault as fault:
            log.info("%s of %s: %s", held.content.digest, repository, fault)

    async def _is_proven(self, repository: Repository, held: Held) -> bool:
        trusted = await self.trusts(repository.upstream, held.content.digest, held.content.upstream)
        try:
            await (self._ask if trusted else self._confirm)(repository, held)
        except Outage:
            return True
        return trusted

    async def _ask(self, repository: Repository, held: Held) -> None:
        """Raises Absent, UpstreamRefused, and upstream's other faults; only a yes leaves things as they are."""
        digest, media_type = held.content.digest, held.membership.media_type

        async def ask() -> None:
            await self._confirm(repository, held)
            await self._holdings.allow(repository, digest, MembershipRecord(media_type, self._now()))
            await self.standings.renew(repository)

        await self._checks.join((repository, digest, SCOPE.get()), ask)

    async def _confirm(self, repository: Repository, held: Held) -> None:
        """Upstream's answer, whatever follows from a yes; a no is acted on."""
        registry, content = self._registry(repository.upstream), held.content
        try:
            if held.membership.media_type:
                await registry.manifest_digest(repository.name, content.digest)
            else:
                await registry.check_blob(repository.name, content.digest, content.size)
        except (Absent, UpstreamRefused) as refusal:
            raise await self.refused(repository, content.digest, refusal) from refusal

    async def _check(self, repository: Repository, digest: Digest, size: int | None) -> None:
        try:
            await self._registry(repository.upstream).check_blob(repository.name, digest, size)
        except (Absent, UpstreamRefused) as refusal:
            if isinstance(refusal, Absent):
                self.deny(repository, digest)
            verdict = await self.refused(repository, digest, refusal)
            raise (_absence(repository, digest) if isinstance(verdict, Absent) else verdict) from refusal
        await self.grant(repository, digest)

    async def refused(self, repository: Repository, digest: Digest, refusal: Absent | UpstreamRefused) -> Fault:
        """What to tell where upstream says no to a digest of a repository, which ends what was granted before: of what
        was deleted by its name, which a pin outlives; otherwise as ``Standings.judged``. What is said to one client's
        own credential ends nobody else's right."""
        if self.is_by_client(repository.upstream):
            return refusal
        if isinstance(refusal, BlobUnknown | ManifestUnknown) and not self.standings.outlives(repository):
            await self._holdings.disallow(repository, digest)
        return await self.standings.judged(repository, refusal)


def _word(membership: MembershipRecord, record: RepositoryRecord | None) -> Word:
    known = record or RepositoryRecord()
    return Word(membership.confirmed_at, known.confirmed_at, known.refused_at)


def _absence(repository: Repository, digest: Digest) -> BlobUnknown:
    return BlobUnknown(f"{repository.upstream} does not have {repository.name}@{digest}")
