"""The run of one fill: move, resume where upstream breaks off, prove.

Bytes move in blocking threads with one large buffer each: receive, write, hash; each of these releases the interpreter
lock.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeVar

from proxy.cache.body import CHUNK
from proxy.cache.fill import Fill
from proxy.cache.in_order_verifier import InOrderVerifier
from proxy.cache.ranged import Extras, Open, Ranged
from proxy.cache.segment import Segment
from proxy.core.errors import NoSpace, StoreFailed, UpstreamBroken, UpstreamTimeout, UpstreamUnreachable, WrongBytes
from proxy.core.transfer import Transfer
from proxy.core.transfer_plan import TransferRules
from proxy.storage.contract import Ingest

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class IntakeRules:
    tries: int = 3  # openings in a row that bring no byte
    pauses: tuple[float, ...] = (0.2, 1.0, 5.0)  # seconds before each of them
    transfers: TransferRules = field(default_factory=TransferRules)


class Source(NamedTuple):
    """Where bytes and room come from."""

    reopen: Open  # the blob from a byte on, up to another where that is given
    grant: Callable[[int], Awaitable[int]]  # asked for so many bytes more, gives what may be had of them
    extras: Extras


class Intake:
    def __init__(self, fill: Fill, ingest: Ingest, verifier: InOrderVerifier, movers: Executor, source: Source) -> None:
        self._fill = fill
        self._ingest = ingest
        self._verifier = verifier
        self._movers = movers
        self._source = source

    async def run(self, transfer: Transfer, granted: int, rules: IntakeRules) -> bool:
        """True when the blob is whole and proven, False when it spilled. Raises what upstream's failure was, after
        the tries are used up, and WrongBytes, of the transfer's origin. Closes every transfer it used."""
        try:
            try:
                await self._receive(transfer, granted, rules)
                await self._in_thread(self._movers, self._verifier.finish)
            except (NoSpace, StoreFailed):
                await self._spill()
                return False
        finally:
            self._verifier.stop()
        if not self._verifier.hasher.agrees():
            raise WrongBytes(transfer.origin, f"sent bytes that are not those of {self._fill.digest}")
        self._fill.prove(self._verifier.hasher.count)
        return True

    async def _spill(self) -> None:
        """Readers carry on from where the proof ends: as far as it can be brought."""
        with suppress(StoreFailed):  # the file may not be readable either
            await self._in_thread(self._movers, self._verifier.finish)
        self._verifier.stop()
        self._fill.spill(self._verifier.hasher)

    async def _receive(self, transfer: Transfer, granted: int, rules: IntakeRules) -> None:
        async def bring(segment: Segment, transfer: Transfer, movers: Executor) -> None:
            await self._bring(segment, transfer, movers, rules)

        if self._fill.size is None:
            return await self._bring(Segment(0, granted), transfer, self._movers, rules)
        ranged = Ranged(self._fill, bring, self._source.reopen, self._source.extras, rules.transfers)
        await ranged.run(transfer, self._movers)

    async def _bring(self, segment: Segment, transfer: Transfer, movers: Executor, rules: IntakeRules) -> None:
        """The whole segment, over as many transfers as that takes."""
        idle = 0
        while True:
            before = segment.position
            try:
                try:
                    self._check(transfer, segment)
                    return await self._drain(segment, transfer, movers)
                finally:
                    transfer.close()
            except (UpstreamUnreachable, UpstreamTimeout):
                idle = idle + 1 if segment.position == before else 1
                if idle > rules.tries:
                    raise
                await asyncio.sleep(rules.pauses[min(idle, len(rules.pauses)) - 1])
                end = None if self._fill.size is None else segment.end
                transfer = await self._source.reopen(segment.position, end)

    def _check(self, transfer: Transfer, segment: Segment) -> None:
        """A resumed transfer must speak of the same bytes: never splice two versions."""
        if self._fill.size is not None and transfer.size is not None and transfer.size != self._fill.size:
            raise self._broken(f"{self._fill.digest} had {self._fill.size} bytes, now {transfer.size}")
        if transfer.offset > segment.position:
            raise self._broken(f"answered from byte {transfer.offset} on, unasked")

    async def _drain(self, segment: Segment, transfer: Transfer, movers: Executor) -> None:
        known = segment.position - transfer.offset
        while not await self._in_thread(movers, partial(self._move, segment, transfer, known), transfer.interrupt):
            if self._fill.size is not None:
                return
            known, more = 0, await self._source.grant(segment.end)
            if not more:
                raise NoSpace(f"no room for more than {segment.position} bytes of {self._fill.digest}")
            segment.end += more
        if self._fill.size is not None and not segment.done:
            raise self._broken(f"ended {self._fill.digest} {segment.end - segment.position} bytes early")

    async def _in_thread(
        self, movers: Executor, work: Callable[[], T], interrupt: Callable[[], None] = lambda: None
    ) -> T:
        """The thread is out when this is, however it ends: nobody may close the file while it works there."""
        moving = asyncio.get_running_loop().run_in_executor(movers, work)
        try:
            return await asyncio.shield(moving)
        except asyncio.CancelledError:
            interrupt()
            await asyncio.wait([moving])
            if not moving.cancelled():
                moving.exception()
            raise

    def _move(self, segment: Segment, transfer: Transfer, known: int) -> bool:
        """In a mover thread: reads over what is ``known``, then takes the rest. True at the end of the body, False at
        the end of the segment."""
        buffer = memoryview(bytearray(CHUNK))
        while known:
            count = transfer.readinto(buffer[:known])
            if count == 0:
                return True
            known -= count
        while space := segment.space(CHUNK):
            count = segment.receive(transfer, buffer[:space])
            if count == 0:
                return True
            self._take(segment, buffer[:count])
        return False

    def _take(self, segment: Segment, chunk: memoryview) -> None:
        start = segment.position
        self._ingest.write(start, chunk)
        segment.position += len(chunk)
        self._fill.arrived(start, segment.position)
        self._verifier.take(start, chunk)

    def _broken(self, why: str) -> UpstreamBroken:
        return UpstreamBroken(self._fill.repository.upstream, why)
