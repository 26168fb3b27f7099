"""The cache as its front sees it: one object that answers pulls and lists."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy.cache.access import Access
from proxy.cache.blobs import Blobs
from proxy.cache.fills import FillRules, Fills
from proxy.cache.holdings import Holdings
from proxy.cache.lifecycle import Lifecycle, LifecycleRules, PushTimes, no_push_times
from proxy.cache.listings import Listings
from proxy.cache.maintenance import Maintenance
from proxy.cache.manifests import Manifests
from proxy.cache.pins import Pins
from proxy.cache.reconcile import reconcile
from proxy.cache.retention import Retention
from proxy.cache.scrub import Scrub
from proxy.cache.space import FreeSpaceRule, Shares, Space
from proxy.cache.tags import IsImmutable, Tags
from proxy.cache.threads import Threads
from proxy.cache.touches import Touches
from proxy.core.budget import Budget, ByteLimits
from proxy.core.errors import StoreFailed
from proxy.core.freshness import TagRules
from proxy.storage.contract import BlobStore, Catalog
from proxy.tasks.off_loop import off_loop
from proxy.upstream.contract import Registry

log = logging.getLogger("entrepot.cache")

_FLUSH_EVERY = 10.0  # seconds: what a crash may forget of last use
_BACKUP_EVERY = 300.0


@dataclass(frozen=True, slots=True)
class CacheRules:
    limits: ByteLimits
    free: FreeSpaceRule
    tags: TagRules
    fills: FillRules
    lifecycle: LifecycleRules = field(default_factory=LifecycleRules)
    pins: tuple[str, ...] = ()  # patterns of content that is never let go


class Upstreams(NamedTuple):
    """What the cache asks of the composition about upstreams, by their names."""

    registry: Callable[[str], Registry]
    immutable: IsImmutable
    touch_period: Callable[[str], float | None]  # seconds, None for never
    share: Shares = lambda _: None
    push_times: PushTimes = no_push_times


class Cache:
    """Built bottom-up in ``start_cache``; every task belongs to its owner and ends with it."""

    def __init__(
        self,
        holdings: Holdings,
        fills: Fills,
        blobs: Blobs,
        manifests: Manifests,
        listings: Listings,
        touches: Touches,
        maintenance: Maintenance,
    ) -> None:
        self.holdings = holdings
        self.space = maintenance.space
        self.fills = fills
        self.blobs = blobs
        self.manifests = manifests
        self.listings = listings
        self.touches = touches
        self.maintenance = maintenance

    async def keep_house(self, now: Callable[[], float]) -> None:
        """Runs until cancelled: the comparison of store and catalog once, marks of last use and copies of the catalog
        for ever."""
        async with asyncio.TaskGroup() as house:
            house.create_task(self._compare(now))
            house.create_task(self.touches.run())
            house.create_task(self.maintenance.lifecycle.run())
            house.create_task(self.maintenance.scrub.run())
            house.create_task(_every(_FLUSH_EVERY, self.holdings.flush))
            house.create_task(_every(_BACKUP_EVERY, self.holdings.catalog.backup))

    async def _compare(self, now: Callable[[], float]) -> None:
        try:
            await off_loop(self.holdings.threads.behind, self.holdings.store.sweep)
            await self.holdings.clear_tombstones()
            await reconcile(self.holdings, lambda digest: self.fills.get(digest) is not None, now())
            await self.space.shrink()
        except StoreFailed as cause:
            log.error("store and catalog could not be compared: %s", cause)

    async def settle(self) -> None:
        """What was only in memory is on disk."""
        with suppress(StoreFailed):
            await self.holdings.flush()
            await self.holdings.catalog.backup()


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except StoreFailed as cause:
            log.error("%s", cause)


async def start_cache(
    store: BlobStore,
    catalog: Catalog,
    upstreams: Upstreams,
    rules: CacheRules,
    threads: Threads,
    tasks: asyncio.TaskGroup,
    now: Callable[[], float],
) -> Cache:
    """A cache that answers at once; nothing is scanned. Raises StoreFailed."""
    registry = upstreams.registry
    usage = await catalog.contents.usage_by_upstream()
    budget = Budget(rules.limits, {upstream: each.size for upstream, each in usage.items()})
    holdings = Holdings(store, catalog, budget, threads.store, now)
    pins = Pins(catalog.notes, rules.pins)
    await pins.load()
    retention = Retention(holdings, pins, lambda digest: fills.get(digest) is not None, tasks)
    space = Space(holdings, retention, rules.free, upstreams.share, tasks)
    fills = Fills(holdings, space, registry, rules.fills, threads, tasks, now)
    access = Access(holdings, registry, rules.tags.negative_ttl, tasks, now)
    tags = Tags(holdings, rules.tags, upstreams.immutable, now)
    touches = Touches(registry, upstreams.touch_period, now)
    return Cache(
        holdings,
        fills,
        Blobs(holdings, fills, access, registry, tasks),
        Manifests(holdings, space, tags, registry, touches.served, tasks, now),
        Listings(holdings, registry, rules.tags, tasks, now),
        touches,
        Maintenance(
            holdings,
            space,
            retention,
            Lifecycle(holdings, retention, rules.lifecycle, now, upstreams.push_times),
            Scrub(holdings, now),
        ),
    )
