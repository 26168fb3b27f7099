"""Room for what comes: reserve before you receive, evict at the soft limit, never exceed the hard one."""

import asyncio
from dataclasses import dataclass

from proxy.cache.holdings import Holdings
from proxy.core.budget import Reservation
from proxy.storage.contract import Content

_BATCH = 100


@dataclass(frozen=True, slots=True)
class FreeSpaceRule:
    """What the filesystem must keep free: the larger of the two."""

    size: int  # bytes
    share: float  # of the whole

    def floor(self, total: int) -> int:
        return max(self.size, int(self.share * total))


class Room:
    """Never chooses what is open."""

    def __init__(self, holdings: Holdings, free: FreeSpaceRule, owner: asyncio.TaskGroup) -> None:
        self.evicted = 0
        self.evicted_bytes = 0
        self._holdings = holdings
        self._free = free
        self._owner = owner
        self._evicting = asyncio.Lock()
        self._behind: asyncio.Task[None] | None = None

    async def reserve(self, size: int) -> Reservation | None:
        """None where there is no room, even after eviction. Above the soft limit eviction runs behind; only where the
        hard limit or the filesystem leaves no room does the caller wait for it."""
        if not await self._make_room(size):
            return None
        reservation = self._holdings.budget.reserve(size)
        self._shrink_behind()
        return reservation

    async def extend(self, reservation: Reservation, size: int) -> bool:
        """True when so many more bytes are reserved."""
        granted = await self._make_room(size) and reservation.extend(size)
        self._shrink_behind()
        return granted

    async def _make_room(self, size: int) -> bool:
        budget = self._holdings.budget
        if budget.used + size > budget.limits.hard:
            await self.evict(budget.excess(size))
        if not await self._fits(size):
            await self.evict(size)
            return await self._fits(size)
        return True

    def _shrink_behind(self) -> None:
        if self._holdings.budget.excess() and (self._behind is None or self._behind.done()):
            self._behind = self._owner.create_task(self.shrink())

    async def shrink(self) -> None:
        """Evicts until usage is back below the soft limit's target."""
        await self.evict(self._holdings.budget.excess())

    async def evict(self, wanted: int) -> int:
        """Least recently used first; returns the bytes freed, fewer than ``wanted`` where the rest is in use."""
        freed = 0
        async with self._evicting:
            await self._holdings.flush()
            while freed < wanted:
                victims = self._choose(await self._holdings.catalog.oldest(_BATCH * 4), wanted - freed)
                gained = await self._holdings.evict(victims)
                if gained == 0:
                    break
                freed += gained
                self.evicted += len(victims)
        self.evicted_bytes += freed
        return freed

    def _choose(self, oldest: list[Content], wanted: int) -> list[Content]:
        """The shortest run, in order, of what may go."""
        victims: list[Content] = []
        for content in oldest:
            if wanted <= 0 or len(victims) == _BATCH:
                break
            if not self._holdings.is_open(content.digest):
                victims.append(content)
                wanted -= content.size
        return victims

    async def _fits(self, size: int) -> bool:
        free, total = await self._holdings.in_store(self._holdings.store.free_space)
        return free - size >= self._free.floor(total)
