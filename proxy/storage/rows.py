"""The catalog's rows, as SQL: what is held, who may have it, where tags point, when content was last used, and notes.

Every function runs on the catalog's thread; one that writes, inside the transaction of its caller. Letting go has a
room of its own, ``removal``; the tables are made in ``recovery``.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from proxy.core.names import Digest, Repository, Tag
from proxy.storage.contract import Content, TagRecord, Usage

COLUMNS = (
    "content.digest, content.size, content.media_type, content.created_at, content.used_at, content.upstream,"
    " content.subject"
)
ID = "(SELECT id FROM repository WHERE upstream = ? AND name = ?)"

_CONTENT = f"SELECT {COLUMNS} FROM content WHERE digest = ?"
_HELD = f"""
    SELECT {COLUMNS} FROM repository
    JOIN member ON member.repository = repository.id JOIN content ON content.digest = member.digest
    WHERE repository.upstream = ? AND name = ? AND member.digest = ?"""
_BETWEEN = f"SELECT {COLUMNS} FROM content WHERE digest >= ? AND digest < ? ORDER BY digest"
_ADD = """
    INSERT INTO content (digest, size, media_type, created_at, used_at, upstream, subject) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (digest) DO UPDATE SET
        size = excluded.size, media_type = excluded.media_type, used_at = max(used_at, excluded.used_at),
        upstream = iif(upstream = '', excluded.upstream, upstream), subject = excluded.subject"""
_TOUCH = """
    UPDATE content SET used_at = ?1 WHERE used_at < ?1 AND (digest = ?2 OR digest IN (
        SELECT parent FROM child WHERE child = ?2 AND EXISTS (
            SELECT 1 FROM content WHERE digest = ?2 AND media_type <> '')))"""
_ALLOW = f"""
    INSERT INTO member (repository, digest, created_at, image)
    VALUES ({ID}, ?, ?, EXISTS (SELECT 1 FROM content WHERE digest = ? AND media_type <> ''))
    ON CONFLICT (repository, digest) DO UPDATE SET created_at = coalesce(created_at, excluded.created_at)"""
_REPOSITORIES = """
    SELECT upstream, name FROM repository
    WHERE (upstream, name) > (?, ?) AND EXISTS (SELECT 1 FROM member WHERE repository = repository.id AND image = 1)
    ORDER BY upstream, name LIMIT ?"""
_TAG = """
    SELECT digest, checked_at FROM repository JOIN tag ON tag.repository = repository.id
    WHERE upstream = ? AND name = ? AND tag = ?"""
_SET_TAG = f"""
    INSERT INTO tag (repository, tag, digest, checked_at) VALUES ({ID}, ?, ?, ?)
    ON CONFLICT (repository, tag) DO UPDATE SET digest = excluded.digest, checked_at = excluded.checked_at"""


def content_of(row: tuple[Any, ...]) -> Content:
    """Of a row of ``COLUMNS``."""
    digest, size, media_type, created_at, used_at, upstream, subject = row
    about = Digest(subject) if subject is not None else None
    return Content(Digest(digest), size, media_type, created_at, used_at, upstream, about)


# ------------------------------------------------ what is held


def held(connection: sqlite3.Connection, repository: Repository, digest: Digest) -> Content | None:
    row = connection.execute(_HELD, (*repository, digest)).fetchone()
    return content_of(row) if row else None


def content(connection: sqlite3.Connection, digest: Digest) -> Content | None:
    row = connection.execute(_CONTENT, (digest,)).fetchone()
    return content_of(row) if row else None


def between(connection: sqlite3.Connection, first: str, last: str) -> list[Content]:
    return [content_of(row) for row in connection.execute(_BETWEEN, (first, last))]


def usage_by_upstream(connection: sqlite3.Connection) -> dict[str, Usage]:
    rows = connection.execute("SELECT upstream, size, entries FROM usage")
    return {upstream: Usage(size, entries) for upstream, size, entries in rows}


def add(
    connection: sqlite3.Connection, new: Content, repository: Repository | None, children: Iterable[Digest]
) -> None:
    connection.execute(_ADD, new)
    connection.execute("DELETE FROM leaving WHERE digest = ?", (new.digest,))
    if repository is not None:
        allow(connection, repository, new.digest, new.created_at)
    pairs = ((new.digest, child) for child in children)
    connection.executemany("INSERT OR IGNORE INTO child (parent, child) VALUES (?, ?)", pairs)


def forget(connection: sqlite3.Connection, digests: Sequence[Digest]) -> None:
    gone = [(digest,) for digest in digests]
    connection.executemany("DELETE FROM content WHERE digest = ?", gone)
    connection.executemany("DELETE FROM child WHERE parent = ?", gone)


def touch(connection: sqlite3.Connection, uses: Mapping[Digest, float]) -> None:
    connection.executemany(_TOUCH, ((used_at, digest) for digest, used_at in sorted(uses.items())))


# ------------------------------------------------ who may have it


def allowed(connection: sqlite3.Connection, repository: Repository, digest: Digest) -> bool:
    query = f"SELECT 1 FROM member WHERE repository = {ID} AND digest = ?"
    return connection.execute(query, (*repository, digest)).fetchone() is not None


def allow(
    connection: sqlite3.Connection, repository: Repository, digest: Digest, created_at: float | None = None
) -> None:
    """``created_at`` is known where the content comes with it."""
    _intern(connection, repository)
    connection.execute(_ALLOW, (*repository, digest, created_at, digest))


def disallow(connection: sqlite3.Connection, repository: Repository, digest: Digest) -> None:
    connection.execute(f"DELETE FROM member WHERE repository = {ID} AND digest = ?", (*repository, digest))


def repositories(connection: sqlite3.Connection, after: tuple[str, str], limit: int) -> list[Repository]:
    return [Repository(*row) for row in connection.execute(_REPOSITORIES, (*after, limit))]


def _intern(connection: sqlite3.Connection, repository: Repository) -> None:
    connection.execute("INSERT OR IGNORE INTO repository (upstream, name) VALUES (?, ?)", repository)


# ------------------------------------------------ where tags point


def tag(connection: sqlite3.Connection, repository: Repository, name: Tag) -> TagRecord | None:
    row = connection.execute(_TAG, (*repository, name)).fetchone()
    return TagRecord(Digest(row[0]), row[1]) if row else None


def set_tag(connection: sqlite3.Connection, repository: Repository, name: Tag, record: TagRecord) -> None:
    _intern(connection, repository)
    connection.execute(_SET_TAG, (*repository, name, *record))


def drop_tag(connection: sqlite3.Connection, repository: Repository, name: Tag) -> None:
    connection.execute(f"DELETE FROM tag WHERE repository = {ID} AND tag = ?", (*repository, name))


# ------------------------------------------------ notes


def note(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT text FROM note WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def write_note(connection: sqlite3.Connection, name: str, text: str) -> None:
    connection.execute("INSERT OR REPLACE INTO note (name, text) VALUES (?, ?)", (name, text))


def pins(connection: sqlite3.Connection) -> list[str]:
    return [pattern for (pattern,) in connection.execute("SELECT pattern FROM pin ORDER BY pattern")]


def pin(connection: sqlite3.Connection, pattern: str) -> None:
    connection.execute("INSERT OR IGNORE INTO pin (pattern) VALUES (?)", (pattern,))


def unpin(connection: sqlite3.Connection, pattern: str) -> bool:
    return connection.execute("DELETE FROM pin WHERE pattern = ?", (pattern,)).rowcount > 0
