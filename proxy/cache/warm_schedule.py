"""The images of the configuration, brought when its schedule says so. A time that passes while the process does not run
is not made up for: ``entrepot warm`` does that."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass

from proxy.cache.holdings import Holdings
from proxy.cache.warm_ledger import WarmLedger
from proxy.cache.warming import Warming, WarmOrder
from proxy.cache.whole_images import PlatformWish
from proxy.core.errors import NoSpace, StoreFailed
from proxy.core.foreign_json import SMALL, JsonRefused, parse_json_object
from proxy.core.platforms import Platform
from proxy.tasks.woken import woken
from proxy.warm.references import Wanted
from proxy.warm.schedule import next_time

log = logging.getLogger("entrepot.warm")

Sleep = Callable[[float], Awaitable[None]]

_NOTE = "warm"
_LONGEST = 3600.0  # seconds of one sleep, after which the clock is looked at again
_TOLD = 20  # failures
_WORDS = 300  # characters of each


@dataclass(frozen=True, slots=True)
class WarmRules:
    """``schedule`` is a line of cron, None for by order only."""

    images: tuple[Wanted, ...] = ()
    platforms: tuple[Platform, ...] = ()
    schedule: str | None = None
    pin: bool = False


@dataclass(frozen=True, slots=True)
class LastWarm:
    """``failures`` are the first of them, in words."""

    began_at: float | None = None  # seconds since the epoch; None where there was none yet
    seconds: float = 0.0
    images: int = 0
    failed: int = 0
    fetched_bytes: int = 0
    failures: tuple[str, ...] = ()


class WarmSchedule:
    """``images`` counts what scheduled runs have brought, and not."""

    def __init__(self, warming: Warming, holdings: Holdings, rules: WarmRules, now: Callable[[], float]) -> None:
        self.rules = rules
        self.last = LastWarm()
        self.images: Counter[str] = Counter(held=0, failed=0)
        self.due_at: float | None = None  # seconds since the epoch; None where nothing is due
        self.under_way: WarmLedger | None = None
        self._warming = warming
        self._notes = holdings.catalog.notes
        self._now = now
        self._configured = asyncio.Event()

    def configure(self, rules: WarmRules) -> None:
        """These hold from now on; a run under way ends as it began."""
        self.rules = rules
        self._configured.set()

    def order(self) -> WarmOrder:
        """What the configuration asks for."""
        return WarmOrder(self.rules.images, PlatformWish(self.rules.platforms), self.rules.pin)

    async def run(self, sleep: Sleep = asyncio.sleep) -> None:
        """Runs until cancelled."""
        await self._remember()
        while True:
            await self._until_due(sleep)
            await self.warm()

    async def warm(self) -> LastWarm:
        """One run under the rules, of which an image that fails costs no other."""
        began, ledger = self._now(), self._warming.ledger()
        self.under_way = ledger
        try:
            await self._warming.run(self.order(), ledger)
        finally:
            self.under_way = None
        failed = ledger.failed
        told = tuple(f"{each.name}: {each.refused}"[:_WORDS] for each in failed[:_TOLD])
        seconds = self._now() - began
        self.last = LastWarm(began, seconds, len(ledger.results), len(failed), ledger.fetched, told)
        self.images.update(held=len(ledger.results) - len(failed), failed=len(failed))
        for line in told:
            log.warning("not warmed: %s", line)
        log.info("warmed on schedule: %d images, %d failed, %d bytes fetched",
                 self.last.images, self.last.failed, self.last.fetched_bytes)  # fmt: skip
        with suppress(NoSpace, StoreFailed):  # which the storage has told
            await self._notes.write_note(_NOTE, json.dumps(asdict(self.last)))
        return self.last

    async def _until_due(self, sleep: Sleep) -> None:
        self.due_at = self._next()
        while self.due_at is None or self._now() < self.due_at:
            self._configured.clear()
            pause = None if self.due_at is None else min(_LONGEST, self.due_at - self._now())
            if await woken(self._configured, None if pause is None else sleep(pause)):
                self.due_at = self._next()

    def _next(self) -> float | None:
        rules = self.rules
        return next_time(rules.schedule, self._now()) if rules.schedule is not None and rules.images else None

    async def _remember(self) -> None:
        try:
            note = await self._notes.note(_NOTE)
            if note is not None and self.last.began_at is None:
                last = parse_json_object(note, SMALL)
                self.last = LastWarm(**{**last, "failures": tuple(map(str, last["failures"]))})
        except (StoreFailed, JsonRefused, TypeError, KeyError) as cause:
            log.warning("when images were last warmed is not known: %s", cause)
