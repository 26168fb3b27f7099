"""Knowledge in SQLite: what we hold, who may have it, where tags point, when content was last used.

One connection on one thread of its own, so calls queue instead of meeting SQLite's locks; the copy runs on a second
thread with a second connection, which in WAL mode waits for nobody and holds nobody up. Every call is one hop and every
write one transaction: a caller who is cancelled leaves it whole or not begun. What is done there, in SQL, stands in
``rows`` and ``removal``; the file itself is ``recovery``'s.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from proxy.core.errors import NoSpace, OwnFault, StoreFailed
from proxy.core.graph import Membership, Node
from proxy.core.names import Digest, Repository, Tag
from proxy.storage import removal, rows
from proxy.storage.contract import Content, Cursor, EvictionClass, HeldImage, TagRecord, Usage
from proxy.storage.faults import fault_of
from proxy.storage.recovery import Recovery, copy_catalog, is_corruption, open_catalog, primary_code, suspect

P = ParamSpec("P")
T = TypeVar("T")


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
        return await self._read(rows.held, repository, digest)

    async def content(self, digest: Digest) -> Content | None:
        return await self._read(rows.content, digest)

    async def add(self, content: Content, repository: Repository | None, children: Sequence[Digest] = ()) -> None:
        await self._write(rows.add, content, repository, children)

    async def allow(self, repository: Repository, digest: Digest) -> None:
        await self._write(rows.allow, repository, digest)

    async def forget(self, digests: Sequence[Digest]) -> None:
        await self._write(rows.forget, digests)

    async def disallow(self, repository: Repository, digest: Digest) -> None:
        await self._write(rows.disallow, repository, digest)

    async def tag(self, repository: Repository, tag: Tag) -> TagRecord | None:
        return await self._read(rows.tag, repository, tag)

    async def allowed(self, repository: Repository, digest: Digest) -> bool:
        return await self._read(rows.allowed, repository, digest)

    async def set_tag(self, repository: Repository, tag: Tag, record: TagRecord) -> None:
        await self._write(rows.set_tag, repository, tag, record)

    async def drop_tag(self, repository: Repository, tag: Tag) -> None:
        await self._write(rows.drop_tag, repository, tag)

    async def touch(self, uses: Mapping[Digest, float]) -> None:
        await self._write(rows.touch, uses)

    async def usage(self) -> Usage:
        found = (await self.usage_by_upstream()).values()
        return Usage(sum(usage.size for usage in found), sum(usage.entries for usage in found))

    async def usage_by_upstream(self) -> Mapping[str, Usage]:
        return await self._read(rows.usage_by_upstream)

    async def repositories(self, after: tuple[str, str] | None, limit: int) -> list[Repository]:
        return await self._read(rows.repositories, after or ("", ""), limit)

    async def between(self, first: str, last: str) -> list[Content]:
        return await self._read(rows.between, first, last)

    async def idle(
        self, eviction_class: EvictionClass, after: Cursor, limit: int, upstream: str | None = None
    ) -> list[Content]:
        return await self._read(removal.idle, eviction_class, after, limit, upstream)

    async def images(self, repository: Repository, after: str, limit: int) -> list[HeldImage]:
        return await self._look(removal.images, repository, after, limit)

    async def closure(self, digests: Sequence[Digest]) -> list[Node]:
        return await self._look(removal.closure, digests)

    async def release(self, memberships: Sequence[Membership], freed: Sequence[Digest]) -> list[tuple[Repository, Tag]]:
        return await self._write(removal.release, memberships, freed)

    async def tombstones(self, limit: int) -> list[Digest]:
        return await self._read(removal.tombstones, limit)

    async def left(self, digests: Sequence[Digest]) -> None:
        await self._write(removal.left, digests)

    async def compact(self, size: int) -> int:
        return await self._read(removal.compact, size)

    async def note(self, name: str) -> str | None:
        return await self._read(rows.note, name)

    async def write_note(self, name: str, text: str) -> None:
        await self._write(rows.write_note, name, text)

    async def pins(self) -> list[str]:
        return await self._read(rows.pins)

    async def pin(self, pattern: str) -> None:
        await self._write(rows.pin, pattern)

    async def unpin(self, pattern: str) -> bool:
        return await self._write(rows.unpin, pattern)

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

    async def _look(self, job: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kw: P.kwargs) -> T:
        """Many queries on one state of the catalog, locked once."""
        return await self._read(_within, "DEFERRED", lambda connection: job(connection, *args, **kw))

    async def _write(self, job: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kw: P.kwargs) -> T:
        return await self._read(_within, "IMMEDIATE", lambda connection: job(connection, *args, **kw))

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


def _within(connection: sqlite3.Connection, kind: str, job: Callable[[sqlite3.Connection], T]) -> T:
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
