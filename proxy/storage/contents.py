"""The catalog's contents as SQL: what is held, when it was last used, and the single queries of letting go. Those that
look at several tables stand in ``removal``; the tables are made in ``schema``.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial

from proxy.core.graph import Membership
from proxy.core.names import Digest, Repository, Tag
from proxy.storage import memberships, removal
from proxy.storage.contract import (
    Closure,
    Content,
    Cursor,
    EvictionClass,
    HeldImage,
    Member,
    Tombstone,
    Usage,
)
from proxy.storage.database import Database
from proxy.storage.reading import COLUMNS, content_in, digest_in

_GET = f"SELECT {COLUMNS} FROM content WHERE digest = ?"
_BETWEEN = f"SELECT {COLUMNS} FROM content WHERE digest >= ? AND digest < ? ORDER BY digest"
_ADD = """
    INSERT INTO content (digest, size, media_type, created_at, used_at, upstream, subject) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (digest) DO UPDATE SET
        size = excluded.size, media_type = iif(excluded.media_type = '', media_type, excluded.media_type),
        used_at = max(used_at, excluded.used_at), upstream = iif(upstream = '', excluded.upstream, upstream),
        subject = iif(excluded.media_type = '', subject, excluded.subject)"""
_TOUCH = """
    UPDATE content SET used_at = ?1 WHERE used_at < ?1 AND (digest = ?2 OR digest IN (
        SELECT parent FROM child WHERE child = ?2 AND EXISTS (
            SELECT 1 FROM content WHERE digest = ?2 AND media_type <> '')))"""
_CLAMP = [
    f"UPDATE {table} SET {column} = ?4 WHERE digest >= ?1 AND digest < ?2 AND ({column} > ?4 OR {column} < ?3)"
    for table, column in (("content", "used_at"), ("content", "created_at"), ("membership", "created_at"))
]
_CLASSES = {
    EvictionClass.IMAGES: """media_type <> '' AND parents = 0
        AND NOT EXISTS (SELECT 1 FROM content AS about WHERE about.digest = content.subject)""",
    EvictionClass.ORPHANS: "media_type = '' AND parents = 0",
}


class SqliteContents:
    """``CatalogContents``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, digest: Digest) -> Content | None:
        found = await self._database.rows(_GET, (digest,), content_in)
        return found[0] if found else None

    async def add(
        self, content: Content, children: Sequence[Digest] = (), member: Member | None = None
    ) -> Content | None:
        def add(connection: sqlite3.Connection) -> Content | None:
            before = connection.execute(_GET, (content.digest,)).fetchone()
            connection.execute(_ADD, content)
            connection.execute("DELETE FROM tombstone WHERE digest = ?", (content.digest,))
            if member is not None:
                memberships.allow(member.repository, content.digest, member.record, content.created_at, connection)
            pairs = ((content.digest, child) for child in children)
            connection.executemany("INSERT OR IGNORE INTO child (parent, child) VALUES (?, ?)", pairs)
            return content_in(before) if before is not None else None

        return await self._database.write(add)

    async def forget(self, digests: Sequence[Digest]) -> list[Content]:
        return await self._database.write(partial(removal.forget, digests))

    async def touch(self, uses: Mapping[Digest, float]) -> None:
        marks = [(used_at, digest) for digest, used_at in sorted(uses.items())]
        await self._database.change_all(_TOUCH, marks)

    async def usage_by_upstream(self) -> Mapping[str, Usage]:
        rows = await self._database.rows("SELECT upstream, size, entries FROM usage", (), tuple)
        return {upstream: Usage(size, entries) for upstream, size, entries in rows}

    async def between(self, first: str, last: str) -> list[Content]:
        return await self._database.rows(_BETWEEN, (first, last), content_in)

    async def idle(
        self, eviction_class: EvictionClass, after: Cursor, limit: int, upstream: str | None = None
    ) -> list[Content]:
        mine, values = ("", ()) if upstream is None else ("upstream = ? AND", (upstream,))
        query = f"""SELECT {COLUMNS} FROM content
            WHERE {mine} (used_at, digest) > (?, ?) AND {_CLASSES[eviction_class]} ORDER BY used_at, digest LIMIT ?"""
        return await self._database.rows(query, (*values, *after, limit), content_in)

    async def images(self, repository: Repository, after: str, limit: int) -> list[HeldImage]:
        return await self._database.look(partial(removal.images, repository, after, limit))

    async def closure(self, digests: Sequence[Digest]) -> Closure:
        return await self._database.look(partial(removal.closure, digests))

    async def release(
        self, leaving: Sequence[Membership], freed: Sequence[Digest], expected: Closure
    ) -> list[tuple[Repository, Tag]] | None:
        return await self._database.write(partial(removal.release, leaving, freed, expected))

    async def tombstones(self, limit: int) -> list[Tombstone]:
        query = "SELECT digest, size, upstream FROM tombstone LIMIT ?"
        return await self._database.rows(query, (limit,), lambda row: Tombstone(digest_in(row), *row[1:]))

    async def clear_tombstones(self, digests: Sequence[Digest]) -> None:
        await self._database.change_all("DELETE FROM tombstone WHERE digest = ?", [(digest,) for digest in digests])

    async def clamp(self, first: str, last: str, earliest: float, latest: float) -> int:
        values = (first, last, earliest, latest)
        return await self._database.write(
            lambda connection: sum(connection.execute(statement, values).rowcount for statement in _CLAMP)
        )

    async def compact(self, size: int) -> int:
        return await self._database.alone(partial(removal.compact, size))
