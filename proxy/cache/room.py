"""Room for what arrives, set aside as it comes: a length that upstream announces is a claim, and drives nothing out."""

import asyncio
from threading import Lock

from proxy.cache.space import Arrival, Space
from proxy.core.errors import NoSpace

FIRST_STEP = 256 << 10  # bytes: also what a blob is given that turns out never to come
_LARGEST_STEP = 64 << 20


class Room:
    """What may still be written of ``arrival`` before more is set aside: each time as much again as has come. Shared
    between its movers (``take`` and ``give_back``) and the loop (``grow``)."""

    def __init__(self, arrival: Arrival, granted: int, largest: int) -> None:
        """``granted`` bytes of at most ``largest`` are set aside by now."""
        self.arrival = arrival
        self.largest = largest
        self._granted = granted
        self._left = granted
        self._lock = Lock()
        self._growing = asyncio.Lock()

    def take(self, wanted: int) -> int:
        """How many of the bytes may be written; 0 where none are left."""
        with self._lock:
            count = min(wanted, self._left)
            self._left -= count
            return count

    def give_back(self, count: int) -> None:
        """So many of those taken were not written."""
        with self._lock:
            self._left += count

    async def grow(self) -> None:
        """Returns when there is some room. Raises NoSpace where no more is to be had, and StoreFailed."""
        async with self._growing:
            if self._left:
                return  # another mover's asking brought it
            step = min(self._granted, _LARGEST_STEP, self.largest - self._granted)
            if step <= 0 or not await self.arrival.extend(step):
                raise NoSpace(f"no room for more than {self._granted} bytes")
            self._granted += step
            self.give_back(step)


async def begin_room(space: Space, upstream: str, largest: int, what: str) -> Room | None:
    """For an arrival through ``upstream`` that may become so large; None as for ``Space.begin``."""
    granted = min(FIRST_STEP, largest)
    arrival = await space.begin(granted, upstream, what)
    return Room(arrival, granted, largest) if arrival is not None else None
