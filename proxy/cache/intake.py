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
from proxy.cache.leg import Leg
from proxy.cache.proof import Proof
from proxy.cache.ranged import Extras, Open, Ranged
from proxy.core.errors import NoSpace, StoreFailed, UpstreamBroken, UpstreamTimeout, UpstreamUnreachable
from proxy.core.transfer_plan import TransferRules
from proxy.storage.contract import Ingest
from proxy.upstream.contract import Transfer

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
    def __init__(self, fill: Fill, ingest: Ingest, proof: Proof, movers: Executor, source: Source) -> None:
        self._fill = fill
        self._ingest = ingest
        self._proof = proof
        self._movers = movers
        self._source = source

    async def run(self, transfer: Transfer, granted: int, rules: IntakeRules) -> bool:
        """True when the blob is whole and proven, False when it spilled. Raises what upstream's failure was, after
        the tries are used up, and UpstreamBroken for wrong bytes. Closes every transfer it used."""
        try:
            try:
                await self._receive(transfer, granted, rules)
                await self._in_thread(self._movers, self._proof.finish)
            except (NoSpace, StoreFailed):
                await self._spill()
                return False
        finally:
            self._proof.stop()
        if not self._proof.hasher.agrees():
            raise self._broken(f"sent bytes that are not those of {self._fill.digest}")
        self._fill.prove(self._proof.hasher.count)
        return True

    async def _spill(self) -> None:
        """Readers carry on from where the proof ends: as far as it can be brought."""
        with suppress(StoreFailed):  # the file may not be readable either
            await self._in_thread(self._movers, self._proof.finish)
        self._proof.stop()
        self._fill.spill(self._proof.hasher)

    async def _receive(self, transfer: Transfer, granted: int, rules: IntakeRules) -> None:
        async def bring(leg: Leg, transfer: Transfer, movers: Executor) -> None:
            await self._bring(leg, transfer, movers, rules)

        if self._fill.size is None:
            return await self._bring(Leg(0, granted), transfer, self._movers, rules)
        ranged = Ranged(self._fill, bring, self._source.reopen, self._source.extras, rules.transfers)
        await ranged.run(transfer, self._movers)

    async def _bring(self, leg: Leg, transfer: Transfer, movers: Executor, rules: IntakeRules) -> None:
        """The whole leg, over as many transfers as that takes."""
        idle = 0
        while True:
            before = leg.position
            try:
                try:
                    self._check(transfer, leg)
                    return await self._drain(leg, transfer, movers)
                finally:
                    transfer.close()
            except (UpstreamUnreachable, UpstreamTimeout):
                idle = idle + 1 if leg.position == before else 1
                if idle > rules.tries:
                    raise
                await asyncio.sleep(rules.pauses[min(idle, len(rules.pauses)) - 1])
                end = None if self._fill.size is None else leg.end
                transfer = await self._source.reopen(leg.position, end)

    def _check(self, transfer: Transfer, leg: Leg) -> None:
        """A resumed transfer must speak of the same bytes: never splice two versions."""
        if self._fill.size is not None and transfer.size is not None and transfer.size != self._fill.size:
            raise self._broken(f"{self._fill.digest} had {self._fill.size} bytes, now {transfer.size}")
        if transfer.offset > leg.position:
            raise self._broken(f"answered from byte {transfer.offset} on, unasked")

    async def _drain(self, leg: Leg, transfer: Transfer, movers: Executor) -> None:
        known = leg.position - transfer.offset
        while not await self._in_thread(movers, partial(self._move, leg, transfer, known), transfer.interrupt):
            if self._fill.size is not None:
                return
            known, more = 0, await self._source.grant(leg.end)
            if not more:
                raise NoSpace(f"no room for more than {leg.position} bytes of {self._fill.digest}")
            leg.end += more
        if self._fill.size is not None and not leg.done:
            raise self._broken(f"ended {self._fill.digest} {leg.end - leg.position} bytes early")

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

    def _move(self, leg: Leg, transfer: Transfer, known: int) -> bool:
        """In a mover thread: reads over what is ``known``, then takes the rest. True at the end of the body, False at
        the end of the leg."""
        buffer = memoryview(bytearray(CHUNK))
        while known:
            count = transfer.readinto(buffer[:known])
            if count == 0:
                return True
            known -= count
        while room := leg.room(CHUNK):
            count = leg.receive(transfer, buffer[:room])
            if count == 0:
                return True
            self._take(leg, buffer[:count])
        return False

    def _take(self, leg: Leg, chunk: memoryview) -> None:
        start = leg.position
        self._ingest.write(start, chunk)
        leg.position += len(chunk)
        self._fill.arrived(start, leg.position)
        self._proof.take(start, chunk)

    def _broken(self, why: str) -> UpstreamBroken:
        return UpstreamBroken(self._fill.repository.upstream, why)
