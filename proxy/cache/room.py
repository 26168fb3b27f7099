"""Room for what arrives, set aside as it comes: a length that upstream announces is a claim, and drives nothing out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from threading import Lock

from proxy.cache.space import Arrival, Space
from proxy.core.errors import NoSpace, StoreFailed

FIRST_STEP = 256 << 10  # bytes: also what a blob is given that turns out never to come
_LEAST_STEP = 1 << 20  # once some has come
_LARGEST_STEP = 64 << 20


class Room:
    """What may still be written of ``arrival`` before more is set aside: each time as much again as has been, asked for
    while half of it is left. Shared between its movers (``take`` and ``came``) and the loop (all else)."""

    def __init__(self, arrival: Arrival, granted: int, largest: int) -> None:
        """``granted`` bytes of at most ``largest`` are set aside by now."""
        self.arrival = arrival
        self.largest = largest
        self._granted = granted
        self._left = granted
        self._lock = Lock()
        self._growing = asyncio.Lock()
        self._asked = False  # for more
        self._scarce = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def take(self, wanted: int) -> int:
        """How many of the bytes may be written; 0 where none are left."""
        with self._lock:
            count = min(wanted, self._left)
            self._left -= count
            return count

    def came(self, taken: int, count: int) -> None:
        """No more than ``count`` bytes came of those that were ``taken``."""
        with self._lock:
            self._left += taken - count
            ask = count > 0 and self._left <= self._granted // 2 and not self._asked
            self._asked = self._asked or ask
        if ask:
            self._loop.call_soon_threadsafe(self._scarce.set)

    @asynccontextmanager
    async def kept_ahead(self) -> AsyncIterator[None]:
        """Meanwhile more is set aside before the movers have to wait for it."""
        ahead = asyncio.create_task(self._keep_ahead())
        try:
            yield
        finally:
            ahead.cancel()
            await asyncio.wait([ahead])

    async def _keep_ahead(self) -> None:
        """Ends where no more is to be had now: who needs it asks again."""
        with suppress(NoSpace, StoreFailed):
            while self._granted < self.largest:
                await self._scarce.wait()
                self._scarce.clear()
                async with self._growing:
                    await self._set_aside()

    async def grow(self) -> None:
        """Returns when there is some room. Raises NoSpace where no more is to be had, and StoreFailed."""
        async with self._growing:
            if not self._left:  # else somebody else's asking brought it
                await self._set_aside()

    async def _set_aside(self) -> None:
        step = min(max(self._granted, _LEAST_STEP), _LARGEST_STEP, self.largest - self._granted)
        if step <= 0 or not await self.arrival.extend(step):
            raise NoSpace(f"no room for more than {self._granted} bytes")
        with self._lock:
            self._granted += step
            self._left += step
            self._asked = False


async def begin_room(space: Space, upstream: str, largest: int, what: str) -> Room | None:
    """For an arrival through ``upstream`` that may become so large; None as for ``Space.begin``."""
    granted = min(FIRST_STEP, largest)
    arrival = await space.begin(granted, upstream, what)
    return Room(arrival, granted, largest) if arrival is not None else None
