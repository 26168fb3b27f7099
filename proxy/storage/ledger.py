"""The catalog's books of what was served and fetched as SQL."""

import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from proxy.core.ledger import Account, ByteCount, LedgerBy, LedgerRow
from proxy.storage.database import Database

_WRITE = """
    INSERT INTO ledger (day, upstream, repository, served, fetched) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (day, upstream, repository) DO UPDATE SET served = excluded.served, fetched = excluded.fetched"""
_OF_DAY = "SELECT day, upstream, repository, served, fetched FROM ledger WHERE day = ?"
_BY_TIME = "SELECT day, upstream, '', sum(served), sum(fetched) FROM ledger WHERE day >= ? GROUP BY day, upstream"
_SUMS = {
    LedgerBy.UPSTREAM: "SELECT 0, upstream, '', sum(served), sum(fetched) FROM ledger WHERE day >= ? GROUP BY upstream",
    LedgerBy.REPOSITORY: """
        SELECT 0, upstream, repository, sum(served), sum(fetched) FROM ledger WHERE day >= ?
        GROUP BY upstream, repository""",
    LedgerBy.DAY: _BY_TIME,
    LedgerBy.MONTH: _BY_TIME,
}


class SqliteLedger:
    """As ``cache.ledger`` wants it. Every call raises StoreFailed, or NoSpace where the disk is full."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_day(self, day: int) -> dict[Account, ByteCount]:
        """``day`` in days since the epoch."""
        rows = await self._database.rows(_OF_DAY, (day,), _row_in)
        return {row.account: row.moved for row in rows}

    async def write(self, day: int, counts: Mapping[Account, ByteCount]) -> None:
        """What these accounts come to on that day, in place of what was written; so the same may be written again."""
        await self._database.change_all(_WRITE, [(day, *account, *count) for account, count in counts.items()])

    async def sums(self, by: LedgerBy, since: int) -> list[LedgerRow]:
        """Of all days from ``since`` on."""
        return await self._database.rows(_SUMS[by], (since,), _row_in)

    async def first_day(self) -> int | None:
        """None where nothing is counted yet."""
        [(first,)] = await self._database.rows("SELECT min(day) FROM ledger", (), tuple)
        return first if first is None else int(first)

    async def tidy(self, days: int, rows: int) -> None:
        """Keeps the newest ``days`` that anything was counted on, whatever the clock says; of the oldest of them, only
        sums by upstream where there are more than so many ``rows``. The newest stays as it is."""
        await self._database.write(partial(_tidy, days, rows))


def _tidy(days: int, rows: int, connection: sqlite3.Connection) -> None:
    counted = connection.execute("SELECT day, count(*) FROM ledger GROUP BY day ORDER BY day DESC").fetchall()
    for day, _ in counted[days:]:
        connection.execute("DELETE FROM ledger WHERE day = ?", (day,))
    total = 0
    for number, (day, count) in enumerate(counted[:days]):
        total += count
        if number and total > rows:
            _sum_up(day, connection)


def _sum_up(day: int, connection: sqlite3.Connection) -> None:
    query = "SELECT upstream, sum(served), sum(fetched) FROM ledger WHERE day = ? GROUP BY upstream"
    sums = connection.execute(query, (day,)).fetchall()
    connection.execute("DELETE FROM ledger WHERE day = ?", (day,))
    connection.executemany(_WRITE, [(day, upstream, "", *count) for upstream, *count in sums])


def _row_in(row: Sequence[Any]) -> LedgerRow:
    day, upstream, repository, served, fetched = row
    return LedgerRow(day, Account(upstream, repository), ByteCount(served, fetched))
