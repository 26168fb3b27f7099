"""Letting go of images: by rule, for space, by order. The only room that does; what it decides is ``core.graph``'s.

Never lets go what is pinned, what is being read, and what is arriving.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from enum import Enum

from proxy.cache.holdings import Holdings
from proxy.cache.pins import Pins
from proxy.core.graph import Graph, Membership, Node, Removal, Removed, sum_of
from proxy.core.histogram import AGES, Histogram
from proxy.core.names import Digest
from proxy.storage.contract import FIRST_CURSOR, Content, Cursor, EvictionClass
from proxy.tasks.flights import Flights

_PAGE = 8  # images looked at in one step, so that no step is long
_COMPACTED = 1 << 20  # bytes of the catalog given back in one step
_PAUSE = 0.01  # seconds between two steps, in which hits have their turn
_REST = 24.0  # times as long as the last step took, where there are clients to serve, perhaps from a slow disk


class Cause(Enum):
    """Why content had to go; values are those of the metrics' cause label."""

    BUDGET = "budget"  # the cache's own limit
    SHARE = "share"  # that of an upstream
    DISK = "disk"  # the filesystem has too little left


def _none_yet() -> Counter[Cause]:
    return Counter(dict.fromkeys(Cause, 0))


@dataclass(slots=True)
class RetentionStats:
    evictions: Counter[Cause] = field(default_factory=_none_yet)  # contents that went for space
    evicted: Counter[Cause] = field(default_factory=_none_yet)  # bytes of them
    eviction_ages: Histogram = field(default_factory=lambda: Histogram(AGES))  # seconds since the last use
    expired: int = 0  # images that went by rule
    expired_bytes: int = 0
    purged: int = 0  # contents that went by order
    purged_bytes: int = 0

    @property
    def evicted_bytes(self) -> int:
        """Whatever the cause."""
        return self.evicted.total()


class Retention:
    """``arriving`` tells of content that a fill is bringing."""

    def __init__(
        self,
        holdings: Holdings,
        pins: Pins,
        arriving: Callable[[Digest], bool],
        group: asyncio.TaskGroup,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.stats = RetentionStats()
        self.pins = pins
        self._holdings = holdings
        self._arriving = arriving
        self._sleep = sleep
        self._steps: Flights[object, Removal] = Flights(group)

    def unpinned(self) -> "Retention":
        """The same, but pins hold nothing back."""
        other = copy(self)
        other.pins = self.pins.none()
        return other

    async def weigh(self, memberships: Sequence[Membership], removed: Removed) -> tuple[Removal, list[Membership]]:
        """What ``expire`` would do, after what has left in ``removed``, which grows by it. Changes nothing."""
        removals, stays = [], []
        for page in _pages(memberships):
            graph = self._graph((await self._holdings.catalog.contents.closure([each.digest for each in page])).nodes)
            removal, staying = graph.expire(page, removed)
            removals.append(removal)
            stays += staying
        return sum_of(removals), stays

    async def expire(self, memberships: Sequence[Membership]) -> tuple[Removal, list[Membership]]:
        """These images leave their repositories, in small steps; and those that stay."""
        removals: list[Removal] = []
        stays: list[Membership] = []
        for page in _pages(memberships):
            staying: list[Membership] = []

            def decide(graph: Graph, page: Sequence[Membership] = page, stay: list[Membership] = staying) -> Removal:
                removal, stay[:] = graph.expire(page)  # perhaps not the first time
                return removal

            began = time.monotonic()
            removals.append(await self._step([membership.digest for membership in page], decide))
            stays += staying
            await self._sleep(rest(time.monotonic() - began, self._holdings.at_leisure))
        removal = sum_of(removals)
        self.stats.expired += len(removal.memberships)
        self.stats.expired_bytes += removal.size
        return removal, stays

    async def evict(self, wanted: int, cause: Cause, upstream: str | None = None) -> int:
        """Least recently used first, whole images before orphans; of one upstream if that is given. Returns the bytes
        freed, fewer than ``wanted`` where the rest is pinned or in use."""
        freed = 0

        def weighs(node: Node) -> int:
            return node.size if upstream in (None, node.upstream) else 0

        for eviction_class in EvictionClass:
            after = FIRST_CURSOR
            while freed < wanted:
                page = await self._holdings.catalog.contents.idle(eviction_class, after, _PAGE, upstream)
                if not page:
                    break
                removal = await self._evict(page, wanted - freed, weighs, cause)
                freed += sum(map(weighs, removal.freed))
                after = Cursor(page[-1].used_at, page[-1].digest)
        return freed

    async def _evict(
        self, page: Sequence[Content], wanted: int, weighs: Callable[[Node], int], cause: Cause
    ) -> Removal:
        order = [content.digest for content in page]
        removal = await self._step(order, lambda graph: graph.evict(order, wanted, weighs))
        self.stats.evictions[cause] += len(removal.freed)
        self.stats.evicted[cause] += removal.size
        now, used_at = self._holdings.now(), {content.digest: content.used_at for content in page}
        for node in removal.freed:
            if node.digest in used_at:
                self.stats.eviction_ages.observe(max(0.0, now - used_at[node.digest]))
        return removal

    async def purge(self, digest: Digest) -> Removal:
        """The content wherever it is held; nothing of it if it is pinned or in use."""
        removal = await self._step([digest], lambda graph: graph.purge(digest))
        self.stats.purged += len(removal.freed)
        self.stats.purged_bytes += removal.size
        return removal

    async def tidy(self) -> None:
        """Finishes what a failing disk interrupted, counts again, and gives the catalog's own unused space back."""
        await self._holdings.clear_tombstones()
        unused = await self._holdings.catalog.contents.compact(_COMPACTED)
        while unused >= _COMPACTED:
            await self._sleep(_PAUSE)
            before, unused = unused, await self._holdings.catalog.contents.compact(_COMPACTED)
            if unused >= before:
                return

    async def _step(self, digests: Sequence[Digest], decide: Callable[[Graph], Removal]) -> Removal:
        """Whoever waits for it may be cancelled; the step is not."""
        step = object()
        return await self._steps.join(
            step, lambda: self._holdings.release(digests, lambda nodes: decide(self._graph(nodes)))
        )

    def _graph(self, nodes: Iterable[Node]) -> Graph:
        return Graph(nodes, self.pins.keep, self._in_use)

    def _in_use(self, digest: Digest) -> bool:
        return self._holdings.is_open(digest) or self._arriving(digest) or self.pins.names_part(digest)


def rest(step: float, at_leisure: bool) -> float:
    """Seconds of rest behind a step of so many: none while nobody is there to be disturbed."""
    return 0.0 if at_leisure else max(_PAUSE, _REST * step)


def _pages(memberships: Sequence[Membership]) -> Iterable[Sequence[Membership]]:
    return (memberships[start : start + _PAGE] for start in range(0, len(memberships), _PAGE))
