"""The one thread and the one connection that the catalog's tables are read and written by.

Calls queue instead of meeting SQLite's locks. Every call is one hop and every write one transaction: a caller who is
cancelled leaves it whole or not begun. A call that meets damage mends the catalog and is made once more.
"""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from proxy.core.errors import NoSpace, OwnFault, StoreFailed
from proxy.storage.catalog_files import NAME
from proxy.storage.faults import fault_of
from proxy.storage.health import StorageHealth
from proxy.storage.recoveries import Recovery
from proxy.storage.recovery import (
    FAILURES,
    copy_catalog,
    is_damage,
    mend_catalog,
    mend_in_memory,
    open_catalog,
    primary_code,
    read_into_memory,
    write_down,
)
from proxy.tasks.off_loop import off_loop

log = logging.getLogger("entrepot.catalog")

_NO_LOCKS = "; its volume gives no locks, as some network file systems do: a local disk does"

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]
Row = Any  # a tuple with a cell for each column of its query


class Database:
    """``recovered`` says how it came to be what it is, ``recoveries`` how often since the start it was brought back.
    Every call raises StoreFailed, or NoSpace where the disk is full, and tells ``health``; a write that works takes
    that back. ``claim`` is called before a file is made: it makes sure of the cache folder itself, which may not be
    ours yet, or another one by then. Raises OSError."""

    def __init__(self, folder: Path, health: StorageHealth, claim: Callable[[], object]) -> None:
        """Blocks. On a disk that takes no writes the catalog is read into memory, and written down later."""
        self._folder = folder
        self._claim = claim
        self._health = health
        self._in_memory = False
        self.recoveries = 0
        try:
            with _faults():
                claim()
                self._connection, self.recovered = open_catalog(folder)
        except OwnFault as fault:
            self._keep_in_memory(fault, partial(read_into_memory, folder))
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="catalog")
        self._copier = ThreadPoolExecutor(max_workers=1, thread_name_prefix="catalog-copy")
        self._closing = threading.Event()
        self._copying = threading.Lock()
        self._copied: tuple[int, int] | None = None  # the version that the last copy has

    async def rows(self, query: str, values: Sequence[object], shape: Callable[[Row], T]) -> list[T]:
        """What one query finds, each row as ``shape`` makes it of its cells."""
        return await self._hop(partial(_rows, query, values, shape))

    async def change(self, statement: str, *values: object) -> int:
        """One statement that writes; returns how many rows it met."""
        return await self.write(lambda connection: connection.execute(statement, values).rowcount)

    async def change_all(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """One statement that writes, for each of these rows."""
        await self.write(lambda connection: connection.executemany(statement, rows))

    async def look(self, job: Job[T]) -> T:
        """Several queries on one state of the catalog."""
        return await self._hop(partial(_within, "DEFERRED", job))

    async def write(self, job: Job[T]) -> T:
        """Several statements, all of them or none."""
        done = await self._hop(partial(_within, "IMMEDIATE", job))
        if not self._in_memory:
            self._health.worked("catalog")
        return done

    async def alone(self, job: Job[T]) -> T:
        """What brings its own transactions."""
        return await self._hop(job)

    async def backup(self) -> None:
        """A copy beside it, unless nothing has changed since the last one."""
        version = await self._hop(self._copyable)
        if version == self._copied or self._in_memory:
            return
        given_up = threading.Event()
        await self._off(self._copier, partial(self._copy, given_up), given_up.set)
        self._copied = version
        self._health.worked("catalog copy")

    async def recover(self) -> None:
        """Where the file has vanished, the catalog is written again; where it is kept in memory or takes no writes, the
        disk is tried."""
        await self._hop(self._recover)

    async def size(self) -> int:
        """Bytes of its files in the folder."""
        return await self._off(self._thread, self._size)

    async def close(self) -> None:
        """Idempotent. Waits for what is under way."""
        await asyncio.to_thread(self._close)

    # ------------------------------------------------ in threads

    async def _hop(self, job: Job[T]) -> T:
        return await self._off(self._thread, partial(self._run, job))

    async def _off(
        self, thread: ThreadPoolExecutor, work: Callable[[], T], interrupt: Callable[[], None] = lambda: None
    ) -> T:
        try:
            return await off_loop(thread, work, interrupt)
        except RuntimeError as error:
            if self._closing.is_set():
                raise StoreFailed("the catalog is closed") from error
            raise

    def _run(self, job: Job[T]) -> T:
        try:
            with _faults():
                try:
                    return job(self._connection)
                except FAILURES as error:
                    if not is_damage(error):
                        raise
                    log.error("the catalog is damaged: %s", error)
                    self._mend()
                return job(self._connection)
        except OwnFault as fault:
            self._health.failed("catalog", fault)
            raise

    def _try_out(self) -> None:
        """Does the disk take writes again? What is open there may have turned stale: only a look at the disk tells that
        from a disk that takes none."""
        try:
            _within("IMMEDIATE", _write_something, self._connection)
        except FAILURES:
            try:
                self._connection.execute("PRAGMA shrink_memory")
                self._connection.execute("SELECT name FROM note LIMIT 1").fetchone()
            except FAILURES:
                self._open_again()
            else:
                raise

    def _open_again(self) -> None:
        """Where that fails, in memory for now."""
        self._copied, recovered = None, Recovery.INTACT
        try:
            with self._copying, _faults():  # SQLite opens anew what nobody has open
                self._connection.close()
                self._connection, recovered = open_catalog(self._folder)
            log.warning("the catalog could not be read any more: it was opened again")
        except OwnFault as fault:
            self._keep_in_memory(fault, partial(read_into_memory, self._folder))
        if recovered is not Recovery.INTACT:
            self.recovered = recovered
        self.recoveries += self._in_memory or recovered is not Recovery.INTACT

    def _mend(self) -> None:
        """Where the disk does not take it, in memory for now."""
        try:
            with _faults():
                self._connection, self.recovered = mend_catalog(self._folder, self._connection)
        except OwnFault as fault:
            self._keep_in_memory(fault, partial(mend_in_memory, self._folder, self._connection))
        self._copied = None
        self.recoveries += 1

    def _keep_in_memory(self, fault: OwnFault, read: Callable[[], tuple[sqlite3.Connection, Recovery]]) -> None:
        """Until ``recover`` finds that the disk takes it. ``read`` never raises."""
        self._health.failed("catalog", fault)
        self._connection, self.recovered = read()
        self._in_memory = True

    def _copyable(self, _: sqlite3.Connection) -> tuple[int, int]:
        """The version, behind a look whether the file is still there."""
        self._look_for_the_file()
        return version_of(self._connection)

    def _recover(self, connection: sqlite3.Connection) -> None:
        if self._in_memory:
            self._claim()
            self._connection, self._in_memory = write_down(self._folder, connection), False
            self._copied = None
            log.warning("the disk takes the catalog again: what was kept in memory is written down")
        else:
            self._look_for_the_file()
            if self._in_memory or "catalog" not in self._health.trouble:
                return
            self._try_out()
        if not self._in_memory:
            self._health.worked("catalog")

    def _look_for_the_file(self) -> None:
        """What is in use but has no name any more would be lost with the process."""
        if not self._in_memory and not (self._folder / NAME).is_file():
            log.error("the catalog's file has vanished: it is written again")
            self._claim()
            self._mend()

    def _size(self) -> int:
        try:
            return sum(path.stat().st_size for path in self._folder.glob(f"{NAME}*"))
        except FileNotFoundError:  # a copy has just taken the place of another
            return sum(path.stat().st_size for path in self._folder.glob(f"{NAME}*") if path.exists())
        except OSError as error:
            raise fault_of(error, "measure the catalog") from error

    def _copy(self, given_up: threading.Event) -> None:
        try:
            with self._copying, _faults():
                copy_catalog(self._folder, given_up)
        except OwnFault as fault:
            self._health.failed("catalog copy", fault)
            raise

    def _close(self) -> None:
        self._closing.set()
        self._copier.shutdown()
        self._thread.shutdown()
        self._connection.close()


def _write_something(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT OR REPLACE INTO note (name, text) VALUES ('written', hex(randomblob(8)))")


def version_of(connection: sqlite3.Connection) -> tuple[int, int]:
    """Moves with every change, by this connection and by any other."""
    (others,) = connection.execute("PRAGMA data_version").fetchone()
    return connection.total_changes, others


def _rows(query: str, values: Sequence[object], shape: Callable[[Row], T], connection: sqlite3.Connection) -> list[T]:
    return [shape(row) for row in connection.execute(query, values)]


def _within(kind: str, job: Job[T], connection: sqlite3.Connection) -> T:
    """The job in a transaction of that kind."""
    connection.execute(f"BEGIN {kind}")
    try:
        done = job(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors roll back by themselves
            connection.execute("ROLLBACK")
        raise
    return done


def _fault_of(error: Exception) -> OwnFault:
    if primary_code(error) == sqlite3.SQLITE_FULL:
        return NoSpace("no space for the catalog")
    advice = _NO_LOCKS if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_LOCK else ""
    return StoreFailed(f"cannot use it: {error}{advice}")


@contextmanager
def _faults() -> Iterator[None]:
    """Turns SQLite's errors into ours."""
    try:
        yield
    except FAILURES as error:
        raise _fault_of(error) from error
    except OSError as error:
        raise fault_of(error, "use the catalog") from error
