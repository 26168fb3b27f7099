"""The catalog's books of what was served and fetched as SQL."""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from proxy.core.ledger import DAY, Account, ByteCount, LedgerBy, LedgerRow, day_of
from proxy.storage.database import Database

_WRITE = """
    INSERT INTO ledger (day, upstream, repository, served, fetched) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (day, upstream, repository) DO UPDATE SET served = excluded.served, fetched = excluded.fetched"""
_BEGAN = "ledger"  # a note
_REPOSITORIES = 5000  # told of a sum; what the others come to is told without names
_OF_DAY = "SELECT day, upstream, repository, served, fetched FROM ledger WHERE day = ?"
_BY_TIME = """
    SELECT day, upstream, '', sum(served), sum(fetched) FROM ledger WHERE day >= ? AND upstream <> ''
    GROUP BY day, upstream"""
_BY_REPOSITORY = f"""
    WITH total AS (
        SELECT upstream, repository, sum(served) AS served, sum(fetched) AS fetched FROM ledger
        WHERE day >= ? AND upstream <> '' GROUP BY upstream, repository),
    ranked AS (
        SELECT *, row_number() OVER (ORDER BY served DESC, upstream, repository) <= {_REPOSITORIES} AS apart FROM total)
    SELECT 0, upstream, iif(apart, repository, '') AS name, sum(served), sum(fetched) FROM ranked
    GROUP BY upstream, name"""
_SUMS = {
    LedgerBy.UPSTREAM: """
        SELECT 0, upstream, '', sum(served), sum(fetched) FROM ledger WHERE day >= ? AND upstream <> ''
        GROUP BY upstream""",
    LedgerBy.REPOSITORY: _BY_REPOSITORY,
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

    async def days(self, since: int) -> list[int]:
        """Days from ``since`` on that something is written of, in order."""
        query = "SELECT DISTINCT day FROM ledger WHERE day >= ? ORDER BY day"
        return await self._database.rows(query, (since,), lambda row: int(row[0]))

    async def begin(self, at: float) -> float:
        """When the books were begun, in seconds since the epoch: ``at``, where they are new; the beginning of the first
        day that is kept, where days have gone."""
        return await self._database.write(partial(_begin, at))

    async def tidy(self, days: int, rows: int) -> None:
        """Keeps the newest ``days`` that anything was counted on, whatever the clock says; of the oldest of them, only
        sums by upstream where there are more than so many ``rows``. The newest stays as it is."""
        await self._database.write(partial(_tidy, days, rows))


def _begin(at: float, connection: sqlite3.Connection) -> float:
    connection.execute("INSERT OR IGNORE INTO note (name, text) VALUES (?, ?)", (_BEGAN, str(at)))
    (noted,) = connection.execute("SELECT text FROM note WHERE name = ?", (_BEGAN,)).fetchone()
    (first,) = connection.execute("SELECT min(day) FROM ledger").fetchone()
    began = float(noted) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", noted) else at
    return float(first * DAY) if first is not None and first < day_of(began) else began


def _tidy(days: int, rows: int, connection: sqlite3.Connection) -> None:
    counted = connection.execute("SELECT day, count(*) FROM ledger GROUP BY day ORDER BY day DESC").fetchall()
    if counted[days:]:
        first, _ = counted[days - 1]
        connection.execute("DELETE FROM ledger WHERE day < ?", (first,))
        connection.execute("UPDATE note SET text = ? WHERE name = ?", (str(first * DAY), _BEGAN))
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
