"""The books: how many bytes were served and fetched, for whom and on which day.

Where bytes pass they are counted in memory as plain numbers. What those grew by is written down every few seconds and
at a stop, so a kill costs the counting of those seconds. Written are totals of the day, never increments: whatever
became of a write, the next one is right.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from proxy.core.ledger import Account, ByteCount, CountedTime, LedgerBy, LedgerRow, day_of

WRITTEN_EVERY = 5.0  # seconds
DAYS = 400
ROWS = 200_000  # some 20 MB
_NOBODY = Account("")
_ACCOUNTS = 10_000  # of one day; whatever comes then is not told apart by repository

Grown = Mapping[Account, int]
"""Bytes since it was last asked."""


class CatalogLedger(Protocol):
    """``storage.ledger``."""

    async def of_day(self, day: int) -> dict[Account, ByteCount]:
        """What was written on that day."""

    async def write(self, day: int, counts: Mapping[Account, ByteCount]) -> None:
        """Totals of the day, in place of those that were written."""

    async def sums(self, by: LedgerBy, since: int) -> list[LedgerRow]:
        """Of all days from ``since`` on."""

    async def begin(self, at: float) -> float:
        """When the books were begun: ``at``, where they are new."""

    async def days(self, since: int) -> list[int]:
        """Days from ``since`` on that something is written of."""

    async def tidy(self, days: int, rows: int) -> None:
        """Keeps the newest days, and of old ones sums by upstream where there are too many rows."""


class Counted(NamedTuple):
    """Those who count; each tells what came since it was last asked."""

    served: Callable[[], Grown]
    fetched: Callable[[], Grown]


class Ledger:
    """``now`` in seconds since the epoch."""

    def __init__(self, books: CatalogLedger, counted: Counted, now: Callable[[], float]) -> None:
        self._books = books
        self._counted = counted
        self.now = now
        self._day: int | None = None
        self._totals: dict[Account, ByteCount] = {}  # of the day, of accounts that are written in it
        self._changed: set[Account] = set()  # of them, what is not written yet
        self._turn = asyncio.Lock()

    async def flush(self) -> None:
        """What was counted is written down. Raises NoSpace or StoreFailed; nothing is lost by that, and it may be
        cancelled anywhere."""
        async with self._turn:
            day = day_of(self.now())
            if day != self._day:
                await self._turn_over(day)
            self._take()
            await self._write(day)

    async def sums(self, by: LedgerBy, since: int) -> list[LedgerRow]:
        """As of now. Raises NoSpace or StoreFailed."""
        await self.flush()
        return await self._books.sums(by, since)

    async def time(self, since: int) -> CountedTime:
        """From that day on. Raises NoSpace or StoreFailed."""
        return CountedTime(tuple(await self._books.days(since)), await self._books.begin(self.now()), self.now())

    async def _turn_over(self, day: int) -> None:
        """What comes from now on belongs to ``day``."""
        if self._day is not None:
            await self._write(self._day)
        totals = await self._books.of_day(day)
        self._day, self._totals = day, totals
        self._add(_NOBODY, ByteCount())  # so that a day on which nobody pulled is there
        await self._books.begin(self.now())
        await self._books.tidy(DAYS, ROWS)

    async def _write(self, day: int) -> None:
        changed = {account: self._totals[account] for account in self._changed}
        if changed:
            await self._books.write(day, changed)
            self._changed.clear()

    def _take(self) -> None:
        for account, count in self._counted.served().items():
            self._add(account, ByteCount(served=count))
        for account, count in self._counted.fetched().items():
            self._add(account, ByteCount(fetched=count))

    def _add(self, account: Account, count: ByteCount) -> None:
        if account not in self._totals and len(self._totals) >= _ACCOUNTS:
            account = Account(account.upstream)
        self._totals[account] = self._totals.get(account, ByteCount()).plus(count)
        self._changed.add(account)
