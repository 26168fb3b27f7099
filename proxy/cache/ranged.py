"""One blob over several ranged transfers, where that is sooner.

The first transfer is of the whole blob, and stays so until another one has been answered: an upstream that knows no
ranges, or wants no more connections, costs nothing.
"""

import asyncio
import logging
from concurrent.futures import Executor
from typing import NamedTuple

from proxy.cache.fill import Fill
from proxy.cache.intake import Intake, Open, Segment
from proxy.core.errors import Fault, Outage, RateLimited
from proxy.core.tables import BoundedTable, Tables
from proxy.core.transfer import Transfer
from proxy.core.transfer_plan import Parts, Tempo, TransferRules
from proxy.tasks.places import Places

_LIMIT = 256 << 10  # bytes
_RESPECT = 60.0  # seconds without further transfers from an upstream after it answered 429
_LIMITED_TRIES = 3  # of a lone transfer, when upstream answers 429 between two parts

log = logging.getLogger("entrepot.fill")


class SegmentTransfer(NamedTuple):
    """A part, and the transfer that begins with it."""

    segment: Segment
    transfer: Transfer


class Extras:
    """The transfers beyond the first of every fill: how many there may be, and towards whom."""

    def __init__(self, movers: Executor, most: int, tables: Tables) -> None:
        self.movers = movers
        self._places = Places(most)
        self._limited: BoundedTable[str, bool] = tables.table("upstreams that limit", _LIMIT, _RESPECT, str)

    def take(self, upstream: str) -> bool:
        """False where none is to be had now."""
        return upstream not in self._limited and self._places.take_now(upstream)

    def give_back(self, upstream: str) -> None:
        self._places.give_back(upstream)

    def limited(self, upstream: str) -> None:
        self._limited.put(upstream, True)


class Ranged:
    """``intake`` brings each segment; ``reopen`` opens another transfer."""

    def __init__(self, fill: Fill, intake: Intake, reopen: Open, extras: Extras, rules: TransferRules) -> None:
        assert fill.size is not None
        self._fill = fill
        self._size = fill.size
        self._intake = intake
        self._reopen = reopen
        self._extras = extras
        self._rules = rules
        self._tempo = Tempo(rules)
        self._parts: Parts | None = None  # None while the first transfer has everything
        self._working = 1

    async def run(self, transfer: Transfer, movers: Executor) -> None:
        """Returns when every byte has come. Raises the first failure that did not heal."""
        first = Segment(0, self._size)
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch(group, first))
                await self._work(SegmentTransfer(first, transfer), movers)
                watching.cancel()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        self._working += 1
        await self._work(await self._following(), movers)  # a part that was meant for one who could not be had

    async def _watch(self, group: asyncio.TaskGroup, first: Segment) -> None:
        loop = asyncio.get_running_loop()
        while not self._tempo.settled:
            begun, before, waited = loop.time(), self._fill.received, first.waited(loop.time())
            await asyncio.sleep(self._rules.window)
            now, received = loop.time(), self._fill.received
            rate, waiting = (received - before) / (now - begun), (first.waited(now) - waited) / (now - begun)
            wanted = self._tempo.measured(rate, self._size - received, waiting)
            while self._working < wanted:
                if not await self._add(group, first):
                    self._tempo.refused()
                    break

    async def _add(self, group: asyncio.TaskGroup, first: Segment) -> bool:
        """One more transfer; False where there can be none."""
        upstream = self._fill.repository.upstream
        if not self._extras.take(upstream):
            return False
        added: SegmentTransfer | None = None
        try:
            added = await self._split(first) if self._parts is None else await self._further(self._parts)
        finally:
            if added is None:
                self._extras.give_back(upstream)
        if added is None:
            return False
        self._working += 1
        transfer = added.transfer
        work = group.create_task(self._work(added, self._extras.movers))
        work.add_done_callback(lambda _: self._extras.give_back(upstream))
        work.add_done_callback(lambda _: transfer.close())  # a task may be cancelled before it begins
        return True

    async def _split(self, first: Segment) -> SegmentTransfer | None:
        """What is far enough ahead of the first transfer is no longer its own, once somebody else brings it."""
        parts = Parts(first.position, self._size, self._rules)
        parts.take(self._tempo.wanted)
        added = await self._further(parts)
        if added is not None and not first.cut(added.segment.position):
            added.transfer.close()
            return None
        if added is not None:
            self._parts = parts
        return added

    async def _further(self, parts: Parts) -> SegmentTransfer | None:
        part = parts.take(self._tempo.wanted)
        if part is None:
            return None
        added: SegmentTransfer | None = None
        try:
            transfer = await self._open(part)
            if transfer.offset == part[0]:
                added = SegmentTransfer(Segment(*part), transfer)
            else:
                transfer.close()  # upstream knows no ranges
        except Fault as fault:
            log.info("%s of %s: no further transfer: %s", self._fill.digest, self._fill.repository, fault)
        finally:
            if added is None:
                parts.give_back(part)
        return added

    async def _work(self, assignment: SegmentTransfer | None, movers: Executor) -> None:
        """One part after the other, until there are none or fewer transfers do."""
        try:
            while assignment is not None:
                await self._intake.bring(assignment.segment, assignment.transfer, movers)
                assignment = await self._following()
        finally:
            self._working -= 1

    async def _following(self) -> SegmentTransfer | None:
        tries = 0
        while self._parts is not None and self._working <= self._tempo.wanted:
            part = self._parts.take(self._tempo.wanted)
            if part is None:
                break
            try:
                return SegmentTransfer(Segment(*part), await self._open(part))
            except Outage as outage:
                self._parts.give_back(part)
                if self._working > 1:
                    self._tempo.at_most(self._working - 1)
                    break
                tries += 1
                if not isinstance(outage, RateLimited) or tries > _LIMITED_TRIES:
                    raise
                await asyncio.sleep(outage.retry_after)
        return None

    async def _open(self, part: tuple[int, int]) -> Transfer:
        start, end = part
        try:
            return await self._reopen(start, None if end == self._size else end)
        except RateLimited:
            self._extras.limited(self._fill.repository.upstream)
            raise
