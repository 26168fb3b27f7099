"""Knowledge in SQLite: what we hold, who may have it, where tags point, when content was last used.

One connection on one thread of its own, so calls queue instead of meeting SQLite's locks; the copy runs on a second
thread with a second connection, which in WAL mode waits for nobody and holds nobody up. Every call is one hop and every
write one transaction: a caller who is cancelled leaves it whole or not begun.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from proxy.core.errors import NoSpace, OwnFault, StoreFailed
from proxy.core.graph import Node, Seat
from proxy.core.names import Digest, Repository, Tag
from proxy.storage import departures
from proxy.storage.contract import Content, HeldImage, Shelf, Spot, TagRecord, Usage
from proxy.storage.departures import COLUMNS, ID, content_of
from proxy.storage.faults import fault_of
from proxy.storage.recovery import Recovery, copy_catalog, is_corruption, open_catalog, primary_code, suspect

P = ParamSpec("P")
T = TypeVar("T")

_CONTENT = f"SELECT {COLUMNS} FROM content"
_HELD = f"""
    SELECT {COLUMNS} FROM repository
    JOIN member ON member.repository = repository.id JOIN content ON content.digest = member.digest
    WHERE repository.upstream = ? AND name = ? AND member.digest = ?"""
_ADD = """
    INSERT INTO content (digest, size, media_type, created_at, used_at, upstream, subject) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (digest) DO UPDATE SET
        size = excluded.size, media_type = excluded.media_type, used_at = max(used_at, excluded.used_at),
        upstream = iif(upstream = '', excluded.upstream, upstream), subject = excluded.subject"""
_ALLOW = f"""
    INSERT INTO member (repository, digest, created_at, image)
    VALUES ({ID}, ?, ?, EXISTS (SELECT 1 FROM content WHERE digest = ? AND media_type <> ''))
    ON CONFLICT (repository, digest) DO UPDATE SET created_at = coalesce(created_at, excluded.created_at)"""
_TAG = """
    SELECT digest, checked_at FROM repository JOIN tag ON tag.repository = repository.id
    WHERE upstream = ? AND name = ? AND tag = ?"""
_SET_TAG = f"""
    INSERT INTO tag (repository, tag, digest, checked_at) VALUES ({ID}, ?, ?, ?)
    ON CONFLICT (repository, tag) DO UPDATE SET digest = excluded.digest, checked_at = excluded.checked_at"""
_REPOSITORIES = """
    SELECT upstream, name FROM repository
    WHERE (upstream, name) > (?, ?) AND EXISTS (SELECT 1 FROM member WHERE repository = repository.id AND image = 1)
    ORDER BY upstream, name LIMIT ?"""
_TOUCH = """
    UPDATE content SET used_at = ?1 WHERE used_at < ?1 AND (digest = ?2 OR digest IN (
        SELECT parent FROM child WHERE child = ?2 AND EXISTS (
            SELECT 1 FROM content WHERE digest = ?2 AND media_type <> '')))"""


class SqliteCatalog:
    """The catalog in ``folder``. Opening it blocks, and brings a lost or corrupt one back: ``recovered`` says how.
    Every call raises StoreFailed, or NoSpace where the disk is full. After corruption was met in a call, ``reopen`` or
    the next start goes back to the last copy."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with _faults(folder):
            self._connection, self.recovered = open_catalog(folder)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="catalog")
        self._copier = ThreadPoolExecutor(max_workers=1, thread_name_prefix="catalog-copy")

    def reopen(self) -> Recovery:
        """Closes the file and opens it again, from the copy where corruption was met; calls that come meanwhile wait.
        Blocks: call it off the loop."""
        return self._thread.submit(self._reopen).result()

    async def held(self, repository: Repository, digest: Digest) -> Content | None:
        return await self._read(_one, _HELD, (*repository, digest))

    async def content(self, digest: Digest) -> Content | None:
        return await self._read(_one, f"{_CONTENT} WHERE digest = ?", (digest,))

    async def add(self, content: Content, repository: Repository | None, children: Sequence[Digest] = ()) -> None:
        await self._write(_add, content, repository, children)

    async def allow(self, repository: Repository, digest: Digest) -> None:
        await self._write(_allow, repository, digest)

    async def forget(self, digests: Sequence[Digest]) -> None:
        await self._write(_forget, digests)

    async def disallow(self, repository: Repository, digest: Digest) -> None:
        await self._write(_run, f"DELETE FROM member WHERE repository = {ID} AND digest = ?", (*repository, digest))

    async def tag(self, repository: Repository, tag: Tag) -> TagRecord | None:
        return await self._read(_tag, repository, tag)

    async def allowed(self, repository: Repository, digest: Digest) -> bool:
        query = f"SELECT digest FROM member WHERE repository = {ID} AND digest = ?"
        return bool(await self._read(_column, query, (*repository, digest)))

    async def set_tag(self, repository: Repository, tag: Tag, record: TagRecord) -> None:
        await self._write(_set_tag, repository, tag, record)

    async def drop_tag(self, repository: Repository, tag: Tag) -> None:
        await self._write(_run, f"DELETE FROM tag WHERE repository = {ID} AND tag = ?", (*repository, tag))

    async def touch(self, uses: Mapping[Digest, float]) -> None:
        await self._write(_touch, sorted(uses.items()))

    async def usage(self) -> Usage:
        found = (await self.usage_by_upstream()).values()
        return Usage(sum(usage.size for usage in found), sum(usage.entries for usage in found))

    async def usage_by_upstream(self) -> Mapping[str, Usage]:
        return await self._read(_usages)

    async def repositories(self, after: tuple[str, str] | None, limit: int) -> list[Repository]:
        return await self._read(_repositories, after or ("", ""), limit)

    async def between(self, first: str, last: str) -> list[Content]:
        return await self._read(_all, f"{_CONTENT} WHERE digest >= ? AND digest < ? ORDER BY digest", (first, last))

    async def idle(self, shelf: Shelf, after: Spot, limit: int, upstream: str | None = None) -> list[Content]:
        return await self._read(departures.idle, shelf, after, limit, upstream)

    async def images(self, repository: Repository, after: str, limit: int) -> list[HeldImage]:
        return await self._read(departures.images, repository, after, limit)

    async def kin(self, digests: Sequence[Digest]) -> list[Node]:
        return await self._read(departures.kin, digests)

    async def release(self, seats: Sequence[Seat], freed: Sequence[Digest]) -> list[tuple[Repository, Tag]]:
        return await self._write(departures.release, seats, freed)

    async def leaving(self, limit: int) -> list[Digest]:
        return [Digest(found) for found in await self._read(_column, "SELECT digest FROM leaving LIMIT ?", (limit,))]

    async def left(self, digests: Sequence[Digest]) -> None:
        await self._write(_many, "DELETE FROM leaving WHERE digest = ?", [(digest,) for digest in digests])

    async def compact(self, size: int) -> int:
        return await self._read(departures.compact, size)

    async def note(self, name: str) -> str | None:
        return next(iter(await self._read(_column, "SELECT text FROM note WHERE name = ?", (name,))), None)

    async def write_note(self, name: str, text: str) -> None:
        await self._write(_run, "INSERT OR REPLACE INTO note (name, text) VALUES (?, ?)", (name, text))

    async def pins(self) -> list[str]:
        return await self._read(_column, "SELECT pattern FROM pin ORDER BY pattern", ())

    async def pin(self, pattern: str) -> None:
        await self._write(_run, "INSERT OR IGNORE INTO pin (pattern) VALUES (?)", (pattern,))

    async def unpin(self, pattern: str) -> bool:
        return await self._write(_run, "DELETE FROM pin WHERE pattern = ?", (pattern,)) > 0

    async def backup(self) -> None:
        await self._hop(self._copier, self._copy)

    async def close(self) -> None:
        """Idempotent. Waits for what is under way."""
        await asyncio.to_thread(self._close)

    # ------------------------------------------------ threads

    async def _read(self, job: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kw: P.kwargs) -> T:
        def run() -> T:
            with _faults(self._folder):
                return job(self._connection, *args, **kw)

        return await self._hop(self._thread, run)

    async def _write(self, job: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kw: P.kwargs) -> T:
        def run() -> T:
            with _faults(self._folder), _transaction(self._connection):
                return job(self._connection, *args, **kw)

        return await self._hop(self._thread, run)

    async def _hop(self, thread: ThreadPoolExecutor, run: Callable[[], T]) -> T:
        try:
            future = asyncio.get_running_loop().run_in_executor(thread, run)
        except RuntimeError as error:  # the executor has been shut down
            raise StoreFailed("the catalog is closed") from error
        return await future

    def _copy(self) -> None:
        with _faults(self._folder):
            copy_catalog(self._folder)

    def _reopen(self) -> Recovery:
        with _faults(self._folder):
            self._connection.close()
            self._connection, self.recovered = open_catalog(self._folder)
        return self.recovered

    def _close(self) -> None:
        self._copier.shutdown()
        self._thread.shutdown()
        self._connection.close()


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors roll back by themselves
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _faults(folder: Path) -> Iterator[None]:
    """Turns SQLite's errors into ours, and leaves a mark where they tell of corruption."""
    try:
        yield
    except sqlite3.Error as error:
        if is_corruption(error):
            suspect(folder)
        raise _fault(error) from error
    except OSError as error:
        raise fault_of(error, "use the catalog") from error


def _fault(error: sqlite3.Error) -> OwnFault:
    full = primary_code(error) == sqlite3.SQLITE_FULL
    return NoSpace("no space for the catalog") if full else StoreFailed(f"catalog: {error}")


# ------------------------------------------------ on the catalog's thread


def _run(connection: sqlite3.Connection, statement: str, values: tuple[str | float, ...]) -> int:
    return connection.execute(statement, values).rowcount


def _many(connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[str, ...]]) -> None:
    connection.executemany(statement, rows)


def _one(connection: sqlite3.Connection, query: str, values: tuple[str, ...]) -> Content | None:
    row = connection.execute(query, values).fetchone()
    return content_of(row) if row else None


def _all(connection: sqlite3.Connection, query: str, values: tuple[str | int, ...]) -> list[Content]:
    return [content_of(row) for row in connection.execute(query, values)]


def _column(connection: sqlite3.Connection, query: str, values: tuple[str | int, ...]) -> list[str]:
    return [found for (found,) in connection.execute(query, values)]


def _intern(connection: sqlite3.Connection, repository: Repository) -> None:
    connection.execute("INSERT OR IGNORE INTO repository (upstream, name) VALUES (?, ?)", repository)


def _allow(
    connection: sqlite3.Connection, repository: Repository, digest: Digest, created_at: float | None = None
) -> None:
    _intern(connection, repository)
    connection.execute(_ALLOW, (*repository, digest, created_at, digest))


def _add(
    connection: sqlite3.Connection, content: Content, repository: Repository | None, children: Sequence[Digest]
) -> None:
    connection.execute(_ADD, content)
    connection.execute("DELETE FROM leaving WHERE digest = ?", (content.digest,))
    if repository is not None:
        _allow(connection, repository, content.digest, content.created_at)
    pairs = ((content.digest, child) for child in children)
    connection.executemany("INSERT OR IGNORE INTO child (parent, child) VALUES (?, ?)", pairs)


def _forget(connection: sqlite3.Connection, digests: Sequence[Digest]) -> None:
    rows = [(digest,) for digest in digests]
    connection.executemany("DELETE FROM content WHERE digest = ?", rows)
    connection.executemany("DELETE FROM child WHERE parent = ?", rows)


def _tag(connection: sqlite3.Connection, repository: Repository, tag: Tag) -> TagRecord | None:
    row = connection.execute(_TAG, (*repository, tag)).fetchone()
    return TagRecord(Digest(row[0]), row[1]) if row else None


def _set_tag(connection: sqlite3.Connection, repository: Repository, tag: Tag, record: TagRecord) -> None:
    _intern(connection, repository)
    connection.execute(_SET_TAG, (*repository, tag, *record))


def _touch(connection: sqlite3.Connection, uses: Sequence[tuple[Digest, float]]) -> None:
    connection.executemany(_TOUCH, ((used_at, digest) for digest, used_at in uses))


def _usages(connection: sqlite3.Connection) -> dict[str, Usage]:
    rows = connection.execute("SELECT upstream, size, entries FROM usage")
    return {upstream: Usage(size, entries) for upstream, size, entries in rows}


def _repositories(connection: sqlite3.Connection, after: tuple[str, str], limit: int) -> list[Repository]:
    return [Repository(*row) for row in connection.execute(_REPOSITORIES, (*after, limit))]
