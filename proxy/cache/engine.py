"""The cache as its front sees it: one object that answers pulls and lists."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from proxy.cache.access import Access, AccessRules
from proxy.cache.blobs import Blobs
from proxy.cache.doubts import VerifyRules
from proxy.cache.exports import Exports
from proxy.cache.fill import Fill
from proxy.cache.fills import FillRules, Fills
from proxy.cache.holdings import Holdings, Shared
from proxy.cache.imports import Imports
from proxy.cache.lifecycle import Lifecycle, LifecycleRules, PushTimes, no_push_times
from proxy.cache.listings import Listings
from proxy.cache.maintenance import Maintenance
from proxy.cache.manifests import Manifests
from proxy.cache.permits import NO_PERMITS, PermitRules, Permits
from proxy.cache.pins import Pins
from proxy.cache.proofs import Proofs
from proxy.cache.reconcile import reconcile
from proxy.cache.rereading import RATE
from proxy.cache.retention import Retention
from proxy.cache.scrub import Scrub
from proxy.cache.sources import Source, Sources, no_homes
from proxy.cache.space import Shares, Space
from proxy.cache.standings import Standings
from proxy.cache.tags import IsImmutable, Tags
from proxy.cache.threads import Threads
from proxy.cache.timekeeping import Timekeeper
from proxy.cache.touches import Touches
from proxy.cache.upkeep import LOOKED_AT_EVERY, Upkeep, forgiving
from proxy.cache.warm_schedule import WarmRules, WarmSchedule
from proxy.cache.warming import Warming
from proxy.cache.whole_images import WholeImages
from proxy.core.budget import Budget, ByteLimits, FreeSpaceRule
from proxy.core.errors import NoSpace, StoreFailed
from proxy.core.freshness import TagRules
from proxy.core.names import Digest
from proxy.core.tables import Tables
from proxy.storage.contract import BlobStore, Catalog
from proxy.tasks.jobs import Jobs
from proxy.tasks.off_loop import off_loop
from proxy.tasks.shared_pace import SharedPace
from proxy.upstream.contract import Registry

log = logging.getLogger("entrepot.cache")

_FLUSH_EVERY = 10.0  # seconds: what a crash may forget of last use
_BACKUP_EVERY = 300.0
_CLOCK_EVERY = 60.0
_COMPARED_EVERY = 30.0  # looks at whether the catalog was brought back
_WARMED = 12  # blobs that arrive for warmings at a time


@dataclass(frozen=True, slots=True)
class CacheRules:
    limits: ByteLimits
    free: FreeSpaceRule
    tags: TagRules
    fills: FillRules
    lifecycle: LifecycleRules = field(default_factory=LifecycleRules)
    verify: VerifyRules = field(default_factory=VerifyRules)
    earliest: float = 0.0  # a time before this one is the clock's mistake
    pins: tuple[str, ...] = ()  # patterns of content that is never let go
    warm: WarmRules = field(default_factory=WarmRules)


class Upstreams(NamedTuple):
    """What the cache asks of the composition about upstreams, by their names."""

    registry: Callable[[str], Registry]
    immutable: IsImmutable
    touch_period: Callable[[str], float | None]  # seconds, None for never
    share: Shares = lambda _: None
    push_times: PushTimes = no_push_times
    homes: Callable[[str], Sequence[Source]] = no_homes  # other homes of its bytes, asked before it
    label: Callable[[str], str] = str  # the key of the configuration that it is there by
    access_ttl: Callable[[str], float] = lambda _: 86_400.0  # seconds that a yes carries
    trust: Callable[[str], str] = lambda upstream: upstream  # the domain within which another's bytes are served
    permits: PermitRules = NO_PERMITS  # where each client's own credential decides


class Behind(NamedTuple):
    """What goes on behind pulls."""

    touches: Touches
    maintenance: Maintenance
    proofs: Proofs
    upkeep: Upkeep
    times: Timekeeper
    exports: Exports
    imports: Imports
    warming: Warming
    warm_schedule: WarmSchedule


class Cache:
    """Built bottom-up by ``start_cache``; all that it does behind pulls are jobs."""

    def __init__(
        self,
        holdings: Holdings,
        fills: Fills,
        blobs: Blobs,
        manifests: Manifests,
        listings: Listings,
        permits: Permits,
        behind: Behind,
    ) -> None:
        self.holdings = holdings
        self.space = behind.maintenance.space
        self.fills = fills
        self.blobs = blobs
        self.manifests = manifests
        self.listings = listings
        self.permits = permits
        self.touches, self.maintenance, self.proofs = behind.touches, behind.maintenance, behind.proofs
        self.upkeep, self.times = behind.upkeep, behind.times
        self.exports, self.imports = behind.exports, behind.imports
        self.warming, self.warm_schedule = behind.warming, behind.warm_schedule
        self._compared = -1  # how often the catalog had been brought back when it was last made to agree with the store

    def start_jobs(self, jobs: Jobs, is_sick: Callable[[], object]) -> None:
        """What goes on behind pulls, for ever. ``is_sick`` says whether storage fails at the moment."""
        jobs.keep("comparison", self._keep_compared)
        jobs.keep("touches", self.touches.run)
        jobs.keep("lifecycle", self.maintenance.lifecycle.run)
        jobs.keep("scrub", self.maintenance.scrub.run)
        jobs.keep("proofs", self.proofs.run)
        jobs.keep("warm", self.warm_schedule.run)
        jobs.every("last use", _FLUSH_EVERY, forgiving(self.holdings.flush))
        jobs.every("catalog copy", _BACKUP_EVERY, forgiving(self.holdings.catalog.backup))
        jobs.every("clock", _CLOCK_EVERY, forgiving(self.times.look))
        jobs.every("storage", LOOKED_AT_EVERY, partial(self.upkeep.look, is_sick))

    async def _keep_compared(self) -> None:
        """After the start, and whenever the catalog had to be brought back since."""
        while True:
            times = self.holdings.catalog.recoveries
            if times != self._compared:
                with suppress(NoSpace, StoreFailed):  # which the storage has told: the next look may do better
                    await self.compare()
                    self._compared = times
            await asyncio.sleep(_COMPARED_EVERY)

    @property
    def compared(self) -> str:
        """How the catalog came to be what it is, once store and catalog have been made to agree since; else empty."""
        catalog = self.holdings.catalog
        return catalog.recovered.value if catalog.recoveries == self._compared else ""

    async def compare(self) -> None:
        """Store and catalog are made to agree, and usage is brought below its limits. Raises NoSpace,
        StoreFailed."""
        await off_loop(self.holdings.threads.behind, self.holdings.store.sweep)
        await self.holdings.clear_tombstones()
        await reconcile(self.holdings, self.fills.arriving.__contains__, self.fills.now())
        await self.space.shrink()

    async def settle(self) -> None:
        """What was only in memory is on disk: what was served is kept."""
        await self.fills.settle()
        for work in (self.upkeep.tend, self.holdings.flush, self.holdings.catalog.backup):
            await forgiving(work)()


async def start_cache(
    store: BlobStore,
    catalog: Catalog,
    upstreams: Upstreams,
    rules: CacheRules,
    threads: Threads,
    jobs: Jobs,
    times: Timekeeper,
) -> Cache:
    """A cache that answers at once; nothing is scanned. Raises StoreFailed."""
    registry, group = upstreams.registry, jobs.group
    await times.load()
    now = times.now
    tables = Tables(now, upstreams.label)
    usage = await catalog.contents.usage_by_upstream()
    budget = Budget(rules.limits, {upstream: each.size for upstream, each in usage.items()})
    holdings = Holdings(store, catalog, budget, threads.store, times.stamp, rules.verify, Shared(jobs.turns, tables))
    await holdings.load()
    pins = Pins(catalog.notes, rules.pins)
    await pins.load()
    arriving: dict[Digest, Fill] = {}
    retention = Retention(holdings, pins, arriving.__contains__, group)
    space = Space(holdings, retention, rules.free, upstreams.share, jobs)
    await forgiving(space.look)()
    sources = Sources(upstreams.homes, registry, tables, now)
    fills = Fills(arriving, space, sources, rules.fills, threads, group, holdings)
    standings = Standings(holdings, registry, pins.concern, group, now)
    permits = Permits(upstreams.permits, registry, tables, group, now)
    carries = AccessRules(upstreams.access_ttl, upstreams.trust, permits.governs, rules.tags.negative_ttl)
    access = Access(holdings, standings, registry, carries, jobs, now)
    tags = Tags(holdings, rules.tags, upstreams.immutable, pins.keep_tag, now)
    pace = SharedPace(RATE)
    touches = Touches(registry, upstreams.touch_period, tables, now)
    imports = Imports(holdings, space, access, tags, registry)
    await imports.load()
    lifecycle = Lifecycle(holdings, retention, rules.lifecycle, now, upstreams.push_times, times.troubles)
    blobs = Blobs(holdings, fills, access, sources, registry, group)
    manifests = Manifests(holdings, space, access, tags, registry, touches.served, jobs)
    listings = Listings(holdings, standings, registry, rules.tags, group, now)
    images = WholeImages(holdings, manifests, blobs, listings, _places_to_warm(rules.fills))
    warming = Warming(holdings, listings, pins, images, registry)
    behind = Behind(
        touches,
        Maintenance(holdings, space, retention, lifecycle, Scrub(holdings, now, pace)),
        Proofs(holdings, pace),
        Upkeep(holdings, tags.flush, space.look),
        times,
        Exports(holdings, access, lifecycle),
        imports,
        warming,
        WarmSchedule(warming, holdings, rules.warm, now),
    )
    return Cache(holdings, fills, blobs, manifests, listings, permits, behind)


def _places_to_warm(fills: FillRules) -> int:
    """Of those that one upstream may have: half at most, so that clients always find some."""
    return max(1, min(_WARMED, fills.at_once // 2))
