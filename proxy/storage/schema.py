"""The catalog's tables as they are today, as they were, and how a catalog is built from one that has them.

Building serves two ends: a catalog of an older version is brought to today's, and one with rows that cannot be read is
built anew from those that can. Every row passes the same checks on its way, so what is built is sound.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from proxy.core.errors import DigestInvalid, NameInvalid, TagInvalid
from proxy.core.names import Digest, Tag, parse_name

APPLICATION = 0x656E7470  # "entp"
VERSION = 5

_TABLES = """
CREATE TABLE content (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL, media_type TEXT NOT NULL,
    created_at REAL NOT NULL, used_at REAL NOT NULL, upstream TEXT NOT NULL, subject TEXT,
    parents INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE TABLE repository (
    id INTEGER PRIMARY KEY, upstream TEXT NOT NULL, name TEXT NOT NULL, confirmed_at REAL, refused_at REAL,
    UNIQUE (upstream, name)
) STRICT;
CREATE TABLE membership (
    repository INTEGER NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL DEFAULT '', confirmed_at REAL,
    granted_by TEXT NOT NULL DEFAULT 'upstream', created_at REAL, image INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE TABLE tag (
    repository INTEGER NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, checked_at REAL NOT NULL,
    PRIMARY KEY (repository, tag)
) STRICT, WITHOUT ROWID;
CREATE TABLE child (parent TEXT NOT NULL, child TEXT NOT NULL, PRIMARY KEY (parent, child)) STRICT, WITHOUT ROWID;
CREATE TABLE tombstone (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL DEFAULT 0, upstream TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE TABLE pin (pattern TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE note (name TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE ledger (
    day INTEGER NOT NULL, upstream TEXT NOT NULL, repository TEXT NOT NULL, served INTEGER NOT NULL,
    fetched INTEGER NOT NULL, PRIMARY KEY (day, upstream, repository)
) STRICT, WITHOUT ROWID;
CREATE TABLE usage (upstream TEXT PRIMARY KEY, size INTEGER NOT NULL, entries INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""
_DERIVED = """
CREATE INDEX child_by_child ON child (child);
CREATE INDEX membership_by_digest ON membership (digest);
CREATE INDEX tag_by_digest ON tag (repository, digest);
DELETE FROM membership WHERE repository NOT IN (SELECT id FROM repository);
DELETE FROM tag WHERE repository NOT IN (SELECT id FROM repository);
UPDATE content SET parents = (SELECT count(*) FROM child WHERE child = content.digest);
UPDATE membership SET image = EXISTS (
    SELECT 1 FROM content WHERE content.digest = membership.digest AND content.media_type <> '');
INSERT INTO usage SELECT upstream, sum(size), count(*) FROM content GROUP BY upstream;
CREATE INDEX image_by_use ON content (used_at, digest) WHERE media_type <> '' AND parents = 0;
CREATE INDEX orphan_by_use ON content (used_at, digest) WHERE media_type = '' AND parents = 0;
CREATE INDEX upstream_image_by_use ON content (upstream, used_at, digest) WHERE media_type <> '' AND parents = 0;
CREATE INDEX upstream_orphan_by_use ON content (upstream, used_at, digest) WHERE media_type = '' AND parents = 0;
CREATE INDEX content_by_subject ON content (subject) WHERE subject IS NOT NULL;
CREATE INDEX image ON membership (repository, digest) WHERE image = 1;
CREATE TRIGGER content_added AFTER INSERT ON content BEGIN
    INSERT INTO usage VALUES (new.upstream, new.size, 1)
        ON CONFLICT (upstream) DO UPDATE SET size = size + excluded.size, entries = entries + 1;
    UPDATE content SET parents = (SELECT count(*) FROM child WHERE child = new.digest) WHERE digest = new.digest;
    UPDATE membership SET image = new.media_type <> '' WHERE digest = new.digest;
END;
CREATE TRIGGER content_changed AFTER UPDATE OF size, upstream ON content
    WHEN new.size <> old.size OR new.upstream <> old.upstream BEGIN
    UPDATE usage SET size = size - old.size, entries = entries - 1 WHERE upstream = old.upstream;
    INSERT INTO usage VALUES (new.upstream, new.size, 1)
        ON CONFLICT (upstream) DO UPDATE SET size = size + excluded.size, entries = entries + 1;
END;
CREATE TRIGGER content_named AFTER UPDATE OF media_type ON content
    WHEN (new.media_type <> '') <> (old.media_type <> '') BEGIN
    UPDATE membership SET image = new.media_type <> '' WHERE digest = new.digest;
END;
CREATE TRIGGER content_removed AFTER DELETE ON content BEGIN
    UPDATE usage SET size = size - old.size, entries = entries - 1 WHERE upstream = old.upstream;
    UPDATE membership SET image = 0 WHERE digest = old.digest AND image = 1;
END;
CREATE TRIGGER child_added AFTER INSERT ON child BEGIN
    UPDATE content SET parents = parents + 1 WHERE digest = new.child;
END;
CREATE TRIGGER child_removed AFTER DELETE ON child BEGIN
    UPDATE content SET parents = parents - 1 WHERE digest = old.child;
END;
"""
"""``content.parents`` counts the held manifests that refer to it and ``membership.image`` is 1 where the member is a
held manifest, so that what goes first is found by an index however much is held."""

_TYPED_BY_CONTENT = """
UPDATE membership SET media_type = coalesce(
    (SELECT media_type FROM content WHERE content.digest = membership.digest), '');
"""
"""A membership of version 1 had no media type of its own, and nobody wrote down when upstream had confirmed it."""


class Copied(NamedTuple):
    """A table to build: where its columns come from, and what each must be."""

    table: str
    columns: str
    source: dict[int, str]  # the query, by version of the catalog that is read
    checks: str  # a letter for each column, as in ``_CHECKS``


_UNTYPED = "SELECT repository, digest, '', NULL, 'upstream', created_at FROM member"
_UNCONFIRMED = "SELECT repository, digest, media_type, NULL, granted_by, created_at FROM membership"
_NOTHING_COUNTED = "SELECT 0, '', '', 0, 0 WHERE 0"
_COPIED = (
    Copied(
        "repository", "id, upstream, name, confirmed_at, refused_at",
        dict.fromkeys((1, 2, 3), "SELECT id, upstream, name, NULL, NULL FROM repository"), "ixrNN",
    ),
    Copied("content", "digest, size, media_type, created_at, used_at, upstream, subject", {}, "dixnnxD"),
    Copied(
        "membership", "repository, digest, media_type, confirmed_at, granted_by, created_at",
        {1: _UNTYPED, 2: _UNCONFIRMED, 3: _UNCONFIRMED},
        "idxNgN",
    ),
    Copied("tag", "repository, tag, digest, checked_at", {}, "itdn"),
    Copied("child", "parent, child", {}, "dd"),
    Copied(
        "tombstone", "digest, size, upstream",
        {1: "SELECT digest, 0, '' FROM leaving", 2: "SELECT digest, 0, '' FROM tombstone"}, "dix",
    ),
    Copied("pin", "pattern", {}, "x"),
    Copied("note", "name, text", {}, "xx"),
    Copied(
        "ledger", "day, upstream, repository, served, fetched", dict.fromkeys((1, 2, 3, 4), _NOTHING_COUNTED), "ixxii",
    ),
)  # fmt: skip

TABLES = {
    1: ("content", "repository", "member", "tag", "child", "leaving", "pin", "note", "usage"),
    **dict.fromkeys((2, 3, 4), (*(each.table for each in _COPIED if each.table != "ledger"), "usage")),
    VERSION: (*(each.table for each in _COPIED), "usage"),
}
"""Of each version that can be read. In version 2 nobody wrote down how large a tombstone is; up to version 3 a yes was
taken whichever upstream had brought the bytes, so each grant is to be confirmed anew; up to version 4 nobody counted
what was served."""


_STAMP = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"


def create(connection: sqlite3.Connection) -> None:
    """Today's tables, empty, in a new file."""
    connection.executescript(f"BEGIN; {_TABLES} {_DERIVED} {_STAMP} COMMIT;")


def has_todays_tables(connection: sqlite3.Connection) -> bool:
    """Whatever version it states."""
    try:
        for each in _COPIED:
            connection.execute(f"SELECT {each.columns} FROM {each.table} LIMIT 0")
    except sqlite3.OperationalError:
        return False
    return True


def build(old: sqlite3.Connection, version: int, new: sqlite3.Connection) -> int:
    """Today's tables in a new file, with the sound rows of ``old``; returns how many others there were. ``old`` is left
    as it is. Raises sqlite3.Error."""
    factory, dropped = old.text_factory, 0
    old.text_factory = bytes
    try:
        new.executescript(_TABLES)
        new.execute("BEGIN")
        for each in _COPIED:
            dropped += _copy(old, each.source.get(version, f"SELECT {each.columns} FROM {each.table}"), new, each)
        new.execute("COMMIT")
        new.executescript(f"BEGIN; {_DERIVED} {_TYPED_BY_CONTENT if version == 1 else ''} {_STAMP} COMMIT;")
    finally:
        old.text_factory = factory
    return dropped


def _copy(old: sqlite3.Connection, query: str, new: sqlite3.Connection, copied: Copied) -> int:
    """How many rows were not sound."""
    checks = [_CHECKS[letter] for letter in copied.checks]
    dropped = 0

    def sound() -> Iterator[Sequence[Any]]:
        nonlocal dropped
        for row in old.execute(query):
            try:
                yield [check(cell) for check, cell in zip(checks, row, strict=True)]
            except (ValueError, DigestInvalid, TagInvalid, NameInvalid):
                dropped += 1

    marks = ", ".join("?" * len(checks))
    new.executemany(f"INSERT OR IGNORE INTO {copied.table} ({copied.columns}) VALUES ({marks})", sound())
    return dropped


def _text(cell: Any) -> str:
    if not isinstance(cell, bytes):
        raise ValueError("not a text")
    return cell.decode()


def _integer(cell: Any) -> int:
    if not isinstance(cell, int):
        raise ValueError("not an integer")
    return cell


def _number(cell: Any) -> int | float:
    if not isinstance(cell, int | float):
        raise ValueError("not a number")
    return cell


def _grant(cell: Any) -> str:
    text = _text(cell)
    if text not in ("upstream", "operator"):
        raise ValueError("nobody's grant")
    return text


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "i": _integer,
    "n": _number,
    "N": lambda cell: None if cell is None else _number(cell),
    "x": _text,
    "d": lambda cell: Digest.parse(_text(cell)),
    "D": lambda cell: None if cell is None else Digest.parse(_text(cell)),
    "t": lambda cell: Tag.parse(_text(cell)),
    "r": lambda cell: parse_name(_text(cell)),
    "g": _grant,
}
"""Each returns the value that is written, and raises ValueError or a fault of its name for one that is not sound."""
