"""A process under faults: round after round of the day, each with one fault, until something is found.

What a fault does is judged while it lasts, when it is over, and after a restart.
"""

import asyncio
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import NamedTuple, Self

from proxy.core.names import Digest
from tests.cast import FaultUpstream
from tests.cast import Seen as Asked
from tests.disk.day import STEPS, Day
from tests.disk.faults import RESTART, START, Fault
from tests.disk.findings import Finding, Kind
from tests.disk.goods import BUDGET, Goods
from tests.disk.injector import Call, Injector, Seen
from tests.process import Entrepot, ProcessFailed
from tests.scenarios.house import NAME
from tests.scenarios.invariants import stored

_HEALS = 25.0  # seconds in which what was broken must work again
_AGAIN = 0.2  # seconds between two looks

Fetched = list[int]
"""How often each good of a round was fetched, in their order."""


class Outcome(NamedTuple):
    failed: list[Seen]  # the calls that did
    findings: list[Finding]


class Life:
    """One cache folder and the processes that use it in turn. Not to be used further once something was found."""

    def __init__(self, folder: Path, library: Path) -> None:
        (folder / "cache").mkdir(parents=True, mode=0o700)  # as a volume that is mounted there
        self.rounds = 0
        self.journal: dict[str, list[Seen]] = {}  # the calls of the last round, by step
        self.folder = folder
        self._library = library
        self._stack = AsyncExitStack()
        self._pins: list[str] = []
        self._usual: Fetched = []  # of a round without a fault
        self._last: Day | None = None
        self._was_in_memory = False  # the catalog may have been, so that what was its file is kept aside

    async def __aenter__(self) -> Self:
        self.up = await self._stack.enter_async_context(FaultUpstream())
        settings = {
            "upstreams": {NAME: {"url": self.up.url}},
            "cache": {"path": str(self.folder / "cache"), "max_size": BUDGET, "min_free": 0},
            "tags": {"ttl": "0s", "negative_ttl": "0s"},
            "drain": {"delay": "0s", "timeout": "5s"},
        }
        self.entrepot = Entrepot(self.folder, settings)
        self.injector = self._stack.enter_context(Injector(self._library, self.folder / "control", self.entrepot.cache))
        self._stack.callback(self.entrepot.dispose)
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._stack.aclose()

    # ------------------------------------------------------------ starts and stops

    async def start(self) -> None:
        """Raises ProcessFailed."""
        with self.injector.preloaded():
            await asyncio.to_thread(self.entrepot.start)

    async def stop(self) -> None:
        """Raises ProcessFailed."""
        await asyncio.to_thread(self.entrepot.stop)

    async def begin(self) -> None:
        """A folder with one good day in it. Raises ProcessFailed; AssertionError where that day was not good."""
        await self.start()
        outcome = await self.round()
        assert not outcome.findings, outcome.findings

    async def started_under(self, fault: Fault) -> Outcome:
        """A start, on an empty folder or on one with content. Where the fault lasts, a day follows before it ends."""
        mark, findings, self._was_in_memory = self._arm(fault), [], True
        try:
            await self.start()
        except ProcessFailed as cause:
            findings.append(Finding(Kind.NOT_STARTED, fault.step, _end_of(str(cause))))
            self.injector.disarm()
            await self.start()
        if not fault.lasts:
            self.injector.disarm()
            if fault.step == RESTART:
                findings += await self._kept("restarted")
        if fault.lasts or fault.step == START:
            findings += (await self.round()).findings
        return Outcome(self._failed(mark), findings)

    async def stopped_under(self, fault: Fault) -> Outcome:
        """A stop, and what is there when it is started again."""
        mark, findings = self._arm(fault), []
        try:
            await self.stop()
        except ProcessFailed as cause:
            findings.append(Finding(Kind.ENDED, fault.step, _end_of(str(cause))))
        self.injector.disarm()
        await self.start()
        return Outcome(self._failed(mark), findings + await self._kept("restarted"))

    async def restarted(self) -> list[Finding]:
        """What lies beside the books when all is over, and what is wrong behind an orderly stop and a start."""
        if wrong := await self._until_none(self._disagreement):
            return [Finding(Kind.NOT_HEALED, "left", wrong)]
        try:
            await self.stop()
            await self.start()
        except ProcessFailed as cause:
            return [Finding(Kind.ENDED, "restarted", _end_of(str(cause)))]
        return await self._kept("restarted")

    # ------------------------------------------------------------ a day

    async def round(self, faults: Sequence[Fault] = ()) -> Outcome:
        """One day with these faults, each in another step, and its healing. What was armed before lasts until it is
        over."""
        began, mark = len(self.up.ledger), self.injector.written
        if self._last is not None:
            self._last.goods.leave()
        goods = Goods(self.up, self.rounds)
        day = self._last = self._day(goods)
        self.rounds += 1
        self.journal = {}
        for step in STEPS:
            before = self.injector.written
            await self._take(day, step, next((fault for fault in faults if fault.step == step), None))
            self.journal[step] = self.injector.seen(before)
            if not day.is_alive():
                break
        self.injector.disarm()
        self.up.forget_plays()
        if day.pinned:
            self._pins.append(day.pin_pattern)
        if day.is_alive():
            await self._heals(day)
            self._loses_nothing(day, faults, self.up.ledger[began:])
        return Outcome(self._failed(mark), day.findings)

    async def _take(self, day: Day, step: str, fault: Fault | None) -> None:
        if fault is not None:
            self._arm(fault)
        await day.take(step)
        if fault is not None and not fault.lasts:
            self.injector.disarm()
            if step == "ballast":  # without its manifest its layer would go last
                await day.ballast()

    def _arm(self, fault: Fault) -> int:
        """Gives a mark for ``_failed``."""
        self.injector.arm(fault.calls, fault.error, fault.nth, fault.times)
        return self.injector.written

    def _failed(self, mark: int) -> list[Seen]:
        return [seen for seen in self.injector.seen(mark) if seen.failed]

    def _day(self, goods: Goods) -> Day:
        return Day(self.entrepot, self.up, goods, lambda: self.injector.written)

    async def _heals(self, day: Day) -> None:
        """Everything is had, the second time without upstream, and readiness says that all is well."""
        day.step = "healed"
        deadline = asyncio.get_running_loop().time() + _HEALS
        while wrong := await self._not_well(day):
            if asyncio.get_running_loop().time() > deadline or not day.is_alive():
                day.findings += wrong
                return
            await asyncio.sleep(_AGAIN)

    async def _not_well(self, day: Day) -> list[Finding]:
        look = self._day(day.goods)
        look.step = day.step
        for good in day.goods.now():
            await look.get(good)
        if look.findings:
            return [Finding(Kind.NOT_HEALED if each.kind is Kind.FAILED else each.kind, *each[1:])
                    for each in look.findings]  # fmt: skip
        found = await self._fetched_again(look)
        if not found and (said := await look.readiness()) != "ready":
            found.append(Finding(Kind.NOT_HEALED, look.step, said))
        return found

    async def _fetched_again(self, look: Day) -> list[Finding]:
        began = len(self.up.ledger)
        for good in look.goods.now():
            await look.get(good)
        asked = self.up.ledger[began:]
        again = [good.steps[0] for good in look.goods.now() if good.fetches(asked)]
        return [*look.findings, *(Finding(Kind.NOT_HEALED, look.step, f"not cached: {step}") for step in again)]

    def _loses_nothing(self, day: Day, faults: Sequence[Fault], asked: list[Asked]) -> None:
        """What was held before the first fault is not fetched again. Bytes that could not be removed take the room of
        others, until they are."""
        fetched = [good.fetches(asked) for good in day.goods.all]
        if not faults:
            self._usual = self._usual or fetched
            return
        if day.findings or any(fault.lasts or Call.UNLINK in fault.calls for fault in faults):
            return
        order = list(STEPS)
        first = min(order.index(fault.step) for fault in faults)
        for good, times, usual in zip(day.goods.all, fetched, self._usual, strict=True):
            if times > usual and all(order.index(step) < first for step in good.steps):
                day.find(Kind.LOST, f"of {good.steps[0]}, {len(good.raw)} bytes, fetched {times} times")

    # ------------------------------------------------------------ behind a restart

    async def _kept(self, step: str) -> list[Finding]:
        """What is held is served without upstream, pins are there, store and catalog agree."""
        assert self._last is not None
        look = self._day(self._last.goods)
        look.step = step
        found = [each._replace(kind=Kind.LOST) for each in await self._fetched_again(look)]
        look.findings.clear()
        there = await look.pins()
        found += [Finding(Kind.PROMISE, step, f"the pin {pin} is gone") for pin in self._pins if pin not in there]
        found += look.findings
        if wrong := await self._until_none(self._disagreement):
            found.append(Finding(Kind.NOT_HEALED, step, wrong))
        return found

    async def _until_none(self, wrong: Callable[[], str]) -> str:
        """What is still wrong when the time for healing is over."""
        deadline = asyncio.get_running_loop().time() + _HEALS
        while (found := wrong()) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_AGAIN)
        return found

    def _disagreement(self) -> str:
        """Between store and catalog, or what else should not lie there; empty where all is well."""
        cache = self.entrepot.cache
        on_disk = stored(cache)
        try:
            known = _known(cache, self.folder / "copy")
        except (OSError, sqlite3.Error) as cause:
            return f"the catalog: {cause}"
        if known != on_disk:
            rows, files = len(known.keys() - on_disk.keys()), len(on_disk.keys() - known.keys())
            return f"{rows} rows without a file, {files} files without a row"
        left = Counter(path.parent.name for name in ("ingest", "quarantine") for path in (cache / name).glob("*"))
        if not self._was_in_memory:
            left.update(path.name for path in cache.glob("catalog.corrupt*"))
        return f"left over: {dict(left)}" if left else ""


def _known(cache: Path, place: Path) -> dict[Digest, int]:
    """What the catalog of a process that has locked it says is held: of a copy of its files in ``place``. Raises
    OSError, or sqlite3.Error, where they were written to meanwhile."""
    for name in ("catalog", "catalog-wal"):
        (place / name).unlink(missing_ok=True)
        if (cache / name).exists():
            place.mkdir(exist_ok=True)
            shutil.copyfile(cache / name, place / name)
    with closing(sqlite3.connect(f"{(place / 'catalog').as_uri()}?mode=rw", uri=True)) as connection:
        return {Digest.parse(row[0]): row[1] for row in connection.execute("SELECT digest, size FROM content")}


def _end_of(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kind = "with a traceback: " if "Traceback" in text else ""
    return kind + " | ".join(lines[:1] + lines[-2:])[-400:]
