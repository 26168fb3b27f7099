"""Manifests by digest and by tag. Content by digest does not age; a tag is believed for a while, then checked.

An upstream that does not answer leaves a known tag served stale; one that answers no is believed at once.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable

from cachetools import LRUCache, TTLCache

from proxy.cache.answers import ManifestAnswer, Outcome
from proxy.cache.flights import Flights
from proxy.cache.holdings import Holdings, Membership
from proxy.cache.room import Room
from proxy.core.errors import Absent, NoSpace, Outage, StoreFailed, UpstreamBroken, UpstreamRefused
from proxy.core.freshness import Standing, TagRules, age, standing
from proxy.core.manifests import ManifestInvalid, read_manifest
from proxy.core.names import Digest, Reference, Repository, Tag
from proxy.storage.contract import Content, TagRecord
from proxy.upstream.contract import FetchedManifest, Registry

log = logging.getLogger("entrepot.manifest")

Key = tuple[Repository, Reference]


class Manifests:
    """``registry(upstream)`` gives the registry of a configured upstream."""

    def __init__(
        self,
        holdings: Holdings,
        room: Room,
        registry: Callable[[str], Registry],
        rules: TagRules,
        owner: asyncio.TaskGroup,
        now: Callable[[], float],
    ) -> None:
        self._holdings = holdings
        self._room = room
        self._registry = registry
        self._rules = rules
        self._now = now
        self._flights: Flights[Key, ManifestAnswer] = Flights(owner)
        self._tags: LRUCache[tuple[Repository, Tag], TagRecord] = LRUCache(50_000)
        self._absent: TTLCache[Key, Absent] = TTLCache(10_000, rules.negative_ttl, timer=now)

    async def get(self, repository: Repository, reference: Reference) -> ManifestAnswer:
        """Raises ManifestUnknown, NameUnknown, and upstream's faults."""
        if isinstance(reference, Digest):
            return await self._by_digest(repository, reference)
        return await self._by_tag(repository, reference)

    def peek(self, repository: Repository, reference: Reference) -> tuple[ManifestAnswer, float] | None:
        """A hit that needs nothing but memory, by digest or by a fresh tag, and until when it is one (infinite by
        digest) unless the holdings change. Never waits, and marks nothing."""
        digest, until = reference, math.inf
        if not isinstance(digest, Digest):
            record = self._tags.get((repository, digest))
            if record is None or standing(self._rules, record.checked_at, self._now()) is not Standing.FRESH:
                return None
            digest, until = record.digest, record.checked_at + self._rules.ttl
        found = self._holdings.peek(repository, digest)
        if found is None or not found[0].media_type:
            return None
        return ManifestAnswer(digest, found[0].media_type, found[1], Outcome.HIT), until

    async def _by_digest(self, repository: Repository, digest: Digest) -> ManifestAnswer:
        return await self._held(repository, digest, Outcome.HIT) or await self._join(
            (repository, digest), lambda: self._fetch(repository, digest)
        )

    async def _by_tag(self, repository: Repository, tag: Tag) -> ManifestAnswer:
        record = await self._record(repository, tag)
        if record is None:
            return await self._join((repository, tag), lambda: self._fetch(repository, tag))
        match standing(self._rules, record.checked_at, self._now()):
            case Standing.FRESH:
                return await self._by_digest(repository, record.digest)
            case Standing.STALE:
                return await self._or_stale(repository, tag, record)
            case Standing.DEAD:
                return await self._join((repository, tag), lambda: self._check(repository, tag, record))

    async def _or_stale(self, repository: Repository, tag: Tag, record: TagRecord) -> ManifestAnswer:
        stale = await self._held(repository, record.digest, Outcome.STALE)
        if stale is None:
            return await self._join((repository, tag), lambda: self._check(repository, tag, record))
        try:
            async with asyncio.timeout(self._rules.revalidate_timeout):
                return await self._join((repository, tag), lambda: self._check(repository, tag, record))
        except (Outage, TimeoutError) as cause:
            log.warning("%s:%s is served stale: %s", repository, tag, str(cause) or "no answer in time")
            return stale._replace(age=age(record.checked_at, self._now()))

    async def _join(self, key: Key, run: Callable[[], Awaitable[ManifestAnswer]]) -> ManifestAnswer:
        remembered = self._absent.get(key)
        if remembered is not None:
            raise type(remembered)(str(remembered))
        first = key not in self._flights
        answer = await self._flights.join(key, run)
        return answer if first or answer.outcome is not Outcome.MISS else answer._replace(outcome=Outcome.COLLAPSED)

    async def _held(self, repository: Repository, digest: Digest, outcome: Outcome) -> ManifestAnswer | None:
        content = await self._holdings.find(repository, digest)
        if content is None or not content.media_type:
            return None
        raw = await self._holdings.read(content)
        return ManifestAnswer(digest, content.media_type, raw, outcome) if raw is not None else None

    async def _record(self, repository: Repository, tag: Tag) -> TagRecord | None:
        record = self._tags.get((repository, tag))
        if record is None:
            record = await self._holdings.catalog.tag(repository, tag)
            if record is not None:
                self._tags[repository, tag] = record
        return record

    async def _check(self, repository: Repository, tag: Tag, record: TagRecord) -> ManifestAnswer:
        """Where the tag points now, by HEAD where we may already hold the answer: a HEAD costs no pull quota."""
        if await self._held(repository, record.digest, Outcome.REVALIDATED) is None:
            return await self._fetch(repository, tag)
        try:
            digest = await self._registry(repository.upstream).manifest_digest(repository.name, tag)
        except (Absent, UpstreamRefused) as refusal:
            await self._refused(repository, tag, refusal)
            raise
        confirmed = await self._held(repository, digest, Outcome.REVALIDATED)
        if confirmed is None:
            return await self._fetch(repository, tag)
        await self._point(repository, tag, digest)
        return confirmed

    async def _fetch(self, repository: Repository, reference: Reference) -> ManifestAnswer:
        try:
            fetched = await self._registry(repository.upstream).manifest(repository.name, reference)
        except (Absent, UpstreamRefused) as refusal:
            await self._refused(repository, reference, refusal)
            raise
        kept = await self._keep(repository, fetched)
        if kept and not isinstance(reference, Digest):
            await self._point(repository, reference, fetched.digest)
        outcome = Outcome.MISS if kept else Outcome.BYPASS
        return ManifestAnswer(fetched.digest, fetched.media_type, fetched.raw, outcome)

    async def _refused(self, repository: Repository, reference: Reference, refusal: Absent | UpstreamRefused) -> None:
        """A no from upstream is no outage: what the tag pointed to is not served any more."""
        if isinstance(refusal, Absent):
            self._absent[repository, reference] = refusal
        if not isinstance(reference, Digest):
            self._tags.pop((repository, reference), None)
            self._holdings.changed()
            await self._holdings.catalog.drop_tag(repository, reference)

    async def _point(self, repository: Repository, tag: Tag, digest: Digest) -> None:
        record = TagRecord(digest, self._now())
        self._tags[repository, tag] = record
        self._holdings.changed()
        await self._holdings.catalog.set_tag(repository, tag, record)

    async def _keep(self, repository: Repository, fetched: FetchedManifest) -> bool:
        """False where there is no room for it: it is served all the same."""
        try:
            facts = read_manifest(fetched.raw, fetched.media_type)
        except ManifestInvalid as cause:
            raise UpstreamBroken(repository.upstream, f"{fetched.digest} is not a manifest: {cause}") from None
        reservation = await self._room.reserve(len(fetched.raw))
        if reservation is None:
            return False
        now = self._now()
        content = Content(fetched.digest, len(fetched.raw), fetched.media_type, now, now)
        try:
            ingest = await self._holdings.in_store(self._holdings.store.begin)
            try:
                await self._holdings.in_store(ingest.write, 0, fetched.raw)
                await self._holdings.commit(ingest, content, Membership(repository, facts.children), reservation)
            finally:
                await self._holdings.in_store(ingest.abort)
        except (NoSpace, StoreFailed) as cause:
            log.error("%s of %s is not kept: %s", fetched.digest, repository, cause)
            return False
        finally:
            reservation.release()
        return True
