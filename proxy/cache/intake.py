"""Receiving one blob: move bytes, resume where an origin breaks off.

Bytes move in blocking threads: receive, write, and hand on to the verifier, which hashes beside that. Each of these
releases the interpreter lock.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue

from proxy.cache.fill import Fill
from proxy.cache.room import Room
from proxy.cache.verifier import InOrderVerifier
from proxy.core.backoff import Backoff
from proxy.core.errors import Absent, NoSpace, Outage, UpstreamBroken, UpstreamFault
from proxy.core.transfer import Transfer
from proxy.core.transfer_plan import TransferRules
from proxy.storage.contract import Ingest
from proxy.tasks.off_loop import off_loop

_FIRST = 128 << 10  # bytes of a buffer: what an upstream has begun to send is soon passed on
_LARGEST = 1 << 20  # larger ones fall out of the processor's cache and cost more than they save
_MOST = 3  # buffers
_PAUSES = Backoff(first=0.2, longest=5.0)

Open = Callable[[int, int | None], Awaitable[Transfer]]
"""The blob from a byte on, up to another where that is given."""


@dataclass(frozen=True, slots=True)
class IntakeRules:
    """Without a byte the next try is made until both are used up."""

    tries: int = 3  # in a row
    patience: float = 60.0  # seconds
    pauses: Backoff = _PAUSES
    transfers: TransferRules = field(default_factory=TransferRules)


class Segment:
    """From ``position`` up to ``end``: what one transfer at a time brings. Its mover advances ``position``; the loop
    may move ``end``."""

    def __init__(self, start: int, end: int) -> None:
        self.position = start  # of the next byte
        self.end = end
        self._asked = start
        self._waited = 0.0
        self._waiting_since: float | None = None
        self._lock = threading.Lock()

    def receive(self, transfer: Transfer, buffer: memoryview, room: Room) -> int | None:
        """Bytes that came into the buffer, no more than the mover may bring; the time it takes is on the segment's
        account. 0 at the end of the body, or of the segment; None where there is no room for more."""
        with self._lock:
            left = min(len(buffer), self.end - self.position)
            count = room.take(left)
            self._asked = self.position + count
        if count == 0:
            return None if left else 0
        arrived, since = 0, time.monotonic()
        self._waiting_since = since
        try:
            arrived = transfer.readinto(buffer[:count])
            return arrived
        finally:
            room.came(count, arrived)
            self._waited += time.monotonic() - since
            self._waiting_since = None

    def waited(self, now: float) -> float:
        """Seconds that its mover has waited for the origin; ``now`` is monotonic."""
        since = self._waiting_since
        return self._waited + (0.0 if since is None else now - since)

    def cut(self, end: int) -> bool:
        """The rest from ``end`` on is somebody else's; False where the mover may be there already."""
        with self._lock:
            if end < self._asked:
                return False
            self.end = end
            return True


class Buffers:
    """What a mover receives into, a few in turn, so that one is filled while others are hashed. ``give_back`` may come
    from any thread, everything else from one at a time."""

    def __init__(self) -> None:
        self._size = _FIRST
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        self._there = 0  # free and in use

    def next(self, wait: Callable[[], None]) -> memoryview:
        """Blocks while all are in use; ``wait`` is called before."""
        if self._there == _MOST or not self._free.empty():
            if self._free.empty():
                wait()
            buffer = self._free.get()
            if len(buffer) >= self._size:
                return buffer
            self._there -= 1
        self._there += 1
        return memoryview(bytearray(self._size))

    def give_back(self, buffer: memoryview) -> None:
        """It is not looked at any more."""
        self._free.put(buffer)

    def filled(self, buffer: memoryview, count: int) -> None:
        """So many bytes came: where they fill it, the next one is larger, and the interpreter lock is taken less
        often."""
        if count == len(buffer):
            self._size = min(2 * self._size, _LARGEST)


@dataclass(frozen=True, slots=True, eq=False)
class Intake:
    """Brings segments of one fill."""

    _fill: Fill
    _ingest: Ingest
    _verifier: InOrderVerifier
    _reopen: Open
    _room: Room
    _rules: IntakeRules

    async def bring(self, segment: Segment, transfer: Transfer | None, movers: Executor) -> None:
        """The whole segment, over as many transfers as that takes; a no to a resume may be a URL that has expired, so
        it is asked again too, but with no patience. Raises what the origin's failure was after the tries are used up,
        NoSpace, StoreFailed. Closes every transfer it used."""
        clock = asyncio.get_running_loop().time
        idle, since = 0, clock()
        while True:
            before = segment.position
            try:
                if transfer is None:
                    end = None if self._fill.size is None else segment.end
                    transfer = await self._reopen(segment.position, end)
                return await self._drain(segment, transfer, movers)
            except (UpstreamFault, Absent) as fault:
                if segment.position > before:
                    idle, since = 0, clock()
                idle += 1
                patience = self._rules.patience if isinstance(fault, Outage) else 0.0
                if segment.position == 0 and not isinstance(fault, Outage):
                    raise
                if idle > self._rules.tries and clock() - since >= patience:
                    raise
            finally:
                if transfer is not None:
                    transfer.close()
            transfer = None
            await asyncio.sleep(self._rules.pauses.pause(idle - 1))

    async def _drain(self, segment: Segment, transfer: Transfer, movers: Executor) -> None:
        self._demand_same(segment, transfer)
        self._fill.origins.add(transfer.origin)
        buffers, known = Buffers(), segment.position - transfer.offset
        while not await off_loop(movers, partial(self._move, segment, transfer, buffers, known), transfer.interrupt):
            known = 0
            await self._room.grow()
        short = segment.end - segment.position
        if self._fill.size is None and not short:
            raise NoSpace(f"{self._fill.digest} has more than {segment.position} bytes, which is all that is kept")
        if self._fill.size is not None and short:
            raise UpstreamBroken(transfer.origin, f"it ended {self._fill.digest} {short} bytes early")

    def _demand_same(self, segment: Segment, transfer: Transfer) -> None:
        """A resumed transfer must speak of the same bytes: never splice two versions."""
        size = self._fill.size
        if size is not None and transfer.size is not None and transfer.size != size:
            raise UpstreamBroken(transfer.origin, f"{self._fill.digest} had {size} bytes, now {transfer.size}")
        if transfer.offset > segment.position:
            raise UpstreamBroken(transfer.origin, f"it answered from byte {transfer.offset} on, unasked")

    def _move(self, segment: Segment, transfer: Transfer, buffers: Buffers, known: int) -> bool:
        """In a mover thread: reads over what is ``known``, then takes the rest. True at the end of the body or of the
        segment, False where there is no room for more."""
        buffer = buffers.next(self._verifier.help)
        while known:
            skipped = transfer.readinto(buffer[:known])
            if skipped == 0:
                return True
            known -= skipped
        while count := segment.receive(transfer, buffer, self._room):
            start, chunk = segment.position, buffer[:count]
            self._ingest.write(start, chunk)
            segment.position += count
            buffers.filled(buffer, count)
            self._verifier.take(start, chunk, partial(buffers.give_back, buffer))
            self._fill.arrived(start, segment.position)
            buffer = buffers.next(self._verifier.help)
        buffers.give_back(buffer)
        if self._fill.received == self._fill.size:
            self._verifier.finish()  # here, where nothing more has to be called for it
        return count is not None
