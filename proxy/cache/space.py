"""Space for what comes: reserve before you receive, evict at the soft limit, never exceed the hard one."""

import asyncio
from collections.abc import Callable
from functools import partial

from proxy.cache.holdings import Holdings
from proxy.cache.retention import Retention
from proxy.core.budget import ByteLimits, FreeSpaceRule, Reservation
from proxy.core.errors import NoSpace, StoreFailed
from proxy.tasks.jobs import Jobs
from proxy.tasks.off_loop import off_loop

_LONG = 1.0  # seconds; an eviction that took longer and found too little is not repeated at once
_RESTS = 10.0  # seconds

Shares = Callable[[str], ByteLimits | None]
"""The byte budget of an upstream of its own, by name."""


class Space:
    """Evicts through ``Retention``, which never chooses what is pinned or in use."""

    def __init__(
        self, holdings: Holdings, retention: Retention, free: FreeSpaceRule, shares: Shares, jobs: Jobs
    ) -> None:
        self._holdings = holdings
        self._retention = retention
        self._free = free
        self._shares = shares
        self._jobs = jobs
        self._evicting = asyncio.Lock()
        self._behind: asyncio.Task[None] | None = None
        self._crowded: set[str] = set()  # upstreams above their own budget
        self._rests_until = 0.0

    def largest(self, upstream: str) -> int:
        """The largest blob of the upstream that is cached, in bytes."""
        share, whole = self._shares(upstream), self._holdings.budget.limits
        return whole.blob if share is None else min(share.blob, whole.blob)

    async def reserve(self, size: int, upstream: str) -> Reservation | None:
        """None where there is no room, even after eviction. Above the soft limit eviction runs behind; only where the
        hard limit or the filesystem leaves no room does the caller wait for it."""
        if not await self._make_room(size):
            return None
        reservation = self._holdings.budget.reserve(size)
        if self._excess_of(upstream, size):
            self._crowded.add(upstream)
        self._shrink_behind()
        return reservation

    async def extend(self, reservation: Reservation, size: int) -> bool:
        """True when so many more bytes are reserved."""
        granted = await self._make_room(size) and reservation.extend(size)
        self._shrink_behind()
        return granted

    async def _make_room(self, size: int) -> bool:
        budget = self._holdings.budget
        if size > budget.limits.hard:
            return False  # nothing that goes could make room for it
        if budget.used + size > budget.limits.hard:
            await self._evict(lambda: budget.excess(size))
        if not await self._fits(size):
            await self._evict(lambda: size)
            return await self._fits(size)
        return True

    def _shrink_behind(self) -> None:
        if (self._holdings.budget.excess() or self._crowded) and (self._behind is None or self._behind.done()):
            self._behind = self._jobs.once("eviction", self._shrink_or_rest)

    async def _shrink_or_rest(self) -> None:
        """A storage that lets nothing go has told so itself, and is left alone for a while."""
        try:
            await self.shrink()
        except (NoSpace, StoreFailed):
            self._rests_until = asyncio.get_running_loop().time() + _RESTS

    async def shrink(self) -> None:
        """Evicts until usage is back below the target of every limit that it is above. Raises StoreFailed."""
        crowded = sorted(self._crowded | set(self._holdings.budget.committed_by))
        self._crowded.clear()
        for upstream in crowded:
            if self._excess_of(upstream, 0):
                await self._evict(partial(self._excess_of, upstream, 0), upstream)
        await self._evict(self._holdings.budget.excess)

    async def evict(self, wanted: int, upstream: str | None = None) -> int:
        """Least recently used first; returns the bytes freed, fewer than ``wanted`` where the rest is pinned or in
        use."""
        return await self._evict(lambda: wanted, upstream)

    async def _evict(self, wanted: Callable[[], int], upstream: str | None = None) -> int:
        """What is wanted is asked when it is this one's turn: the one before may have freed enough."""
        async with self._evicting:
            size, clock = wanted(), asyncio.get_running_loop().time
            if size <= 0 or clock() < self._rests_until:
                return 0
            began = clock()
            await self._holdings.flush()
            freed = await self._retention.evict(size, upstream)
            if freed < size and clock() - began > _LONG:
                self._rests_until = clock() + _RESTS
            return freed

    def _excess_of(self, upstream: str, more: int) -> int:
        share = self._shares(upstream)
        return share.excess(self._holdings.budget.committed_by[upstream] + more) if share is not None else 0

    async def _fits(self, size: int) -> bool:
        free, total = await off_loop(self._holdings.threads.committing, self._holdings.store.free_space)
        return free - size >= self._free.floor(total)
