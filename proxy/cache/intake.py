"""The run of one fill: move, resume where upstream breaks off, prove.

Bytes move in one blocking thread with one large buffer: receive, write, hash; each of these releases the interpreter
lock.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from proxy.cache.body import CHUNK
from proxy.cache.fill import Fill
from proxy.core.errors import NoSpace, StoreFailed, UpstreamBroken, UpstreamTimeout, UpstreamUnreachable
from proxy.core.hashing import Hasher
from proxy.storage.contract import Ingest
from proxy.upstream.contract import Transfer


@dataclass(frozen=True, slots=True)
class IntakeRules:
    tries: int = 3  # openings in a row that bring no byte
    pauses: tuple[float, ...] = (0.2, 1.0, 5.0)  # seconds before each of them


class Intake:
    """``reopen(offset)`` opens a new transfer; ``grant(bytes)`` asks for room that was not reserved yet."""

    def __init__(
        self,
        fill: Fill,
        ingest: Ingest,
        movers: Executor,
        reopen: Callable[[int], Awaitable[Transfer]],
        grant: Callable[[int], Awaitable[bool]],
    ) -> None:
        self._fill = fill
        self._ingest = ingest
        self._movers = movers
        self._reopen = reopen
        self._grant = grant
        self._hasher = Hasher(fill.digest)
        self._position = 0  # of the transfer's next byte

    async def run(self, transfer: Transfer, granted: int, rules: IntakeRules) -> bool:
        """True when the blob is whole and proven, False when it spilled. Raises what upstream's failure was, after
        the tries are used up, and UpstreamBroken for wrong bytes. Closes every transfer it used."""
        try:
            await self._receive(transfer, granted, rules)
        except (NoSpace, StoreFailed):
            self._fill.spill(self._hasher)
            return False
        if not self._hasher.agrees():
            upstream = self._fill.repository.upstream
            raise UpstreamBroken(upstream, f"sent bytes that are not those of {self._fill.digest}")
        self._fill.prove(self._hasher.count)
        return True

    async def _receive(self, transfer: Transfer, granted: int, rules: IntakeRules) -> None:
        idle = 0
        while True:
            before = self._hasher.count
            try:
                try:
                    self._check(transfer)
                    return await self._drain(transfer, granted)
                finally:
                    transfer.close()
            except (UpstreamUnreachable, UpstreamTimeout):
                idle = idle + 1 if self._hasher.count == before else 1
                if idle > rules.tries:
                    raise
                await asyncio.sleep(rules.pauses[min(idle, len(rules.pauses)) - 1])
                transfer = await self._reopen(self._hasher.count)

    def _check(self, transfer: Transfer) -> None:
        """A resumed transfer must speak of the same bytes: never splice two versions."""
        if self._fill.size is not None and transfer.size is not None and transfer.size != self._fill.size:
            raise UpstreamBroken(
                self._fill.repository.upstream, f"{self._fill.digest} had {self._fill.size} bytes, now {transfer.size}"
            )
        if transfer.offset > self._hasher.count:
            raise UpstreamBroken(self._fill.repository.upstream, f"answered from byte {transfer.offset} on, unasked")
        self._position = transfer.offset

    async def _drain(self, transfer: Transfer, granted: int) -> None:
        while not await self._in_thread(transfer, granted):
            if not await self._grant(granted):
                raise NoSpace(f"no room for more than {self._hasher.count} bytes of {self._fill.digest}")
            granted *= 2

    async def _in_thread(self, transfer: Transfer, granted: int) -> bool:
        moving = asyncio.get_running_loop().run_in_executor(self._movers, self._move, transfer, granted)
        try:
            return await asyncio.shield(moving)
        except asyncio.CancelledError:
            transfer.interrupt()
            # The thread still uses the ingest's file: nobody may close that before it is out.
            await asyncio.wait([moving])
            moving.exception()
            raise

    def _move(self, transfer: Transfer, granted: int) -> bool:
        """In the mover thread. True at the end of the body, False where the grant is used up."""
        buffer = memoryview(bytearray(CHUNK))
        while self._hasher.count < granted or self._fill.size is not None:
            count = transfer.readinto(buffer)
            if count == 0:
                return True
            known = min(max(0, self._hasher.count - self._position), count)
            self._position += count
            if known < count:
                self._take(buffer[known:count])
        return False

    def _take(self, chunk: memoryview) -> None:
        start = self._hasher.count
        self._ingest.write(start, chunk)
        self._hasher.update(chunk)
        self._fill.arrived(start, self._hasher.count)
