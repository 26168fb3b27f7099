"""Fault after fault, each in a life that is fit for it."""

import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

from tests.disk.faults import RESTART, START, STOP, Fault, points
from tests.disk.injector import Call, Seen
from tests.disk.lives import Life, Outcome

_ROUNDS = 15  # of one life, after which a restart shows what it has kept


class Campaign:
    """Lives are below ``folder``; a new one begins where the last one has something wrong. ``logs`` is where the log of
    such a life is kept."""

    def __init__(self, folder: Path, library: Path, logs: Path | None = None) -> None:
        self._folder = folder
        self._library = library
        self._logs = logs
        self._numbers = itertools.count(1)
        self._life: Life | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._part()

    async def play(self, fault: Fault) -> Outcome:
        """What comes of it. Raises ProcessFailed and AssertionError where a life is broken without a fault."""
        if fault.step == START:
            await self._part()
            outcome = await (await self._new()).started_under(fault)
        else:
            outcome = await self._in_a_life(fault)
        await self._end(outcome, fault.lasts, str(fault))
        return outcome

    async def play_together(self, faults: Sequence[Fault]) -> tuple[Outcome, list[Fault]]:
        """What comes of them in one day, each in another step of it, and those whose calls were made. Raises as
        ``play``."""
        life = await self._begun()
        outcome = await life.round(faults)
        met = {step for step, seen in life.journal.items() if any(each.failed for each in seen)}
        await self._end(outcome, False, f"together: {faults[0]}")
        return outcome, [fault for fault in faults if fault.step in met]

    async def play_afresh(self, fault: Fault) -> Outcome:
        """As ``play``, in a new life: an earlier fault may be why the call was not made."""
        await self._part()
        return await self.play(fault)

    async def _end(self, outcome: Outcome, is_over: bool, name: str) -> None:
        """Of a life that has seen enough, or in which something is wrong."""
        life = self._life
        assert life is not None
        # Behind a sick disk eviction rests for a while, which the next round would meet.
        is_over = is_over or life.rounds >= _ROUNDS
        if is_over and not outcome.findings:
            outcome.findings.extend(await life.restarted())
        if outcome.findings and self._logs is not None:
            shutil.copy(life.entrepot.log, self._logs / f"{name}.log")
        if is_over or outcome.findings:
            await self._part()

    async def play_anywhere(self, call: Call, error: str, choose: Callable[[int], int]) -> tuple[Fault, Outcome]:
        """One such call in the day, wherever it is made: ``choose`` picks one of so many. Tried again where the next
        day has fewer."""
        while True:
            if self._life is not None and not points(self._life.journal, call):
                await self._part()  # its eviction rests after a fault
            found = points((await self._begun()).journal, call)
            assert found, f"a day without {call.value}"
            step, nth = found[choose(len(found))]
            fault = Fault(step, (call,), error, nth)
            outcome = await self.play(fault)
            if outcome.failed or outcome.findings:
                return fault, outcome

    async def journal(self) -> dict[str, list[Seen]]:
        """The calls of a day without a fault, and of what stands around it."""
        await self._part()
        life = await self._new()
        await life.start()
        found = {START: life.injector.seen()}
        await life.round()
        found |= life.journal
        for step, work in ((STOP, life.stop), (RESTART, life.start)):
            mark = life.injector.written
            await work()
            found[step] = life.injector.seen(mark)
        await self._part()
        return found

    async def _in_a_life(self, fault: Fault) -> Outcome:
        life = await self._begun()
        if fault.step == STOP:
            return await life.stopped_under(fault)
        if fault.step == RESTART:
            await life.stop()
            return await life.started_under(fault)
        return await life.round([fault])

    async def _begun(self) -> Life:
        """One that has a good day behind it."""
        if self._life is None:
            await (await self._new()).begin()
        assert self._life is not None
        return self._life

    async def _new(self) -> Life:
        self._life = await Life(self._folder / f"life-{next(self._numbers)}", self._library).__aenter__()
        return self._life

    async def _part(self) -> None:
        life, self._life = self._life, None
        if life is not None:
            await life.__aexit__()
            shutil.rmtree(life.folder)


def every(call: Call, errors: Sequence[str], step: str) -> Iterator[Fault]:
    """The first of such a call in that step, the second, and so on without end, with these errors in turn."""
    return (Fault(step, (call,), error, nth) for nth, error in enumerate(itertools.cycle(errors), 1))
