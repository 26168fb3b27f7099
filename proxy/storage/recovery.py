"""The catalog's file: opened, or brought back when it is lost or corrupt, and copied while it is in use.

    catalog (-wal, -shm)     the database
    catalog.backup           its last copy; a copy replaces it only after SQLite has checked every page of the new one
    catalog.suspect          an empty mark: a call met corruption, so the next opening does not believe the file
    catalog.corrupt-N        what was moved aside, the newest few

Opening looks at the header, the length of the file, the schema and one row of each table, never at every page: it takes
the same time for a million rows as for none. What only a page deep inside could tell shows when that page is read.
"""

import enum
import os
import re
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from proxy.storage.folder import sync_folder

NAME = "catalog"
APPLICATION = 0x656E7470  # "entp"
VERSION = 1
CORRUPT_KEPT = 3
# Instructions of SQLite's machine, some 20 µs, after which the core is offered to whoever waits for it. A kernel
# without preemption would let the event loop wait there for a whole query, even where another core is idle.
_TURN = 500
TABLES = ("content", "repository", "member", "tag", "child", "leaving", "pin", "note", "usage")

SCHEMA = f"""
BEGIN;
CREATE TABLE content (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL, media_type TEXT NOT NULL,
    created_at REAL NOT NULL, used_at REAL NOT NULL, upstream TEXT NOT NULL, subject TEXT,
    parents INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX image_by_use ON content (used_at, digest) WHERE media_type <> '' AND parents = 0;
CREATE INDEX orphan_by_use ON content (used_at, digest) WHERE media_type = '' AND parents = 0;
CREATE INDEX upstream_image_by_use ON content (upstream, used_at, digest) WHERE media_type <> '' AND parents = 0;
CREATE INDEX upstream_orphan_by_use ON content (upstream, used_at, digest) WHERE media_type = '' AND parents = 0;
CREATE INDEX content_by_subject ON content (subject) WHERE subject IS NOT NULL;
CREATE TABLE repository (
    id INTEGER PRIMARY KEY, upstream TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (upstream, name)
) STRICT;
CREATE TABLE member (
    repository INTEGER NOT NULL, digest TEXT NOT NULL, created_at REAL, image INTEGER NOT NULL,
    PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX member_by_digest ON member (digest);
CREATE INDEX image ON member (repository, digest) WHERE image = 1;
CREATE TABLE tag (
    repository INTEGER NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, checked_at REAL NOT NULL,
    PRIMARY KEY (repository, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_by_digest ON tag (repository, digest);
CREATE TABLE child (parent TEXT NOT NULL, child TEXT NOT NULL, PRIMARY KEY (parent, child)) STRICT, WITHOUT ROWID;
CREATE INDEX child_by_child ON child (child);
CREATE TABLE leaving (digest TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE pin (pattern TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE note (name TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE usage (upstream TEXT PRIMARY KEY, size INTEGER NOT NULL, entries INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TRIGGER content_added AFTER INSERT ON content BEGIN
    INSERT INTO usage VALUES (new.upstream, new.size, 1)
        ON CONFLICT (upstream) DO UPDATE SET size = size + excluded.size, entries = entries + 1;
    UPDATE content SET parents = (SELECT count(*) FROM child WHERE child = new.digest) WHERE digest = new.digest;
    UPDATE member SET image = new.media_type <> '' WHERE digest = new.digest;
END;
CREATE TRIGGER content_changed AFTER UPDATE OF size, upstream ON content
    WHEN new.size <> old.size OR new.upstream <> old.upstream BEGIN
    UPDATE usage SET size = size - old.size, entries = entries - 1 WHERE upstream = old.upstream;
    INSERT INTO usage VALUES (new.upstream, new.size, 1)
        ON CONFLICT (upstream) DO UPDATE SET size = size + excluded.size, entries = entries + 1;
END;
CREATE TRIGGER content_named AFTER UPDATE OF media_type ON content
    WHEN (new.media_type <> '') <> (old.media_type <> '') BEGIN
    UPDATE member SET image = new.media_type <> '' WHERE digest = new.digest;
END;
CREATE TRIGGER content_removed AFTER DELETE ON content BEGIN
    UPDATE usage SET size = size - old.size, entries = entries - 1 WHERE upstream = old.upstream;
    UPDATE member SET image = 0 WHERE digest = old.digest AND image = 1;
END;
CREATE TRIGGER child_added AFTER INSERT ON child BEGIN
    UPDATE content SET parents = parents + 1 WHERE digest = new.child;
END;
CREATE TRIGGER child_removed AFTER DELETE ON child BEGIN
    UPDATE content SET parents = parents - 1 WHERE digest = old.child;
END;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
COMMIT;
"""
"""``content.parents`` counts the held manifests that refer to it and ``member.image`` is 1 where the member is a held
manifest, so that what goes first is found by an index however much is held."""


class Recovery(enum.Enum):
    """What an opening found."""

    INTACT = "intact"
    FROM_COPY = "from copy"  # what is newer than the copy has to be found by a scan
    EMPTY = "empty"  # all has to be found by a scan, and membership asked again


def open_catalog(folder: Path) -> tuple[sqlite3.Connection, Recovery]:
    """Always ends with a catalog that works, unless the folder itself fails. Raises OSError or sqlite3.Error."""
    if _believable(folder) and (connection := _checked(folder / NAME)):
        return connection, Recovery.INTACT
    _move_aside(folder)
    if _restored(folder):
        if connection := _checked(folder / NAME):
            return connection, Recovery.FROM_COPY
        _move_aside(folder)
    return _created(folder), Recovery.EMPTY


def copy_catalog(folder: Path) -> None:
    """Copies the catalog while it is in use. Waits for no writer. Raises OSError or sqlite3.Error."""
    new = folder / f"{NAME}.backup.new"
    _unlink(new)
    with closing(_connect(folder / NAME, "rw")) as source, closing(_connect(new, "rwc")) as target:
        target.execute("PRAGMA synchronous = OFF")  # synced once, as a whole, below
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")  # one file, with no log beside it
        _demand_sound(target)
    _sync_file(new)
    new.rename(folder / f"{NAME}.backup")
    sync_folder(folder)


def suspect(folder: Path) -> None:
    """Marks the catalog as corrupt for the next opening. Best effort: a disk that takes no mark has told on itself."""
    with suppress(OSError):
        (folder / f"{NAME}.suspect").touch()


def is_corruption(error: sqlite3.Error) -> bool:
    return primary_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code: the low byte of the extended one. 0 where the error is not SQLite's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """``mode`` is SQLite's: ``rw`` demands the file, ``rwc`` makes it."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    connection.set_progress_handler(os.sched_yield, _TURN)
    return connection


def _tune(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before anything is written to a new file
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -16384")  # KiB
    connection.execute("PRAGMA journal_size_limit = 67108864")


def _believable(folder: Path) -> bool:
    path = folder / NAME
    return path.is_file() and not path.is_symlink() and not (folder / f"{NAME}.suspect").exists()


def _checked(path: Path) -> sqlite3.Connection | None:
    """None where it is no catalog of ours; a disk that fails or is full says nothing about the file and is raised."""
    connection = _connect(path, "rw")
    try:
        if _is_catalog(connection):
            _tune(connection)
            return connection
    except sqlite3.Error as error:
        if not is_corruption(error) and primary_code(error) != sqlite3.SQLITE_ERROR:  # the latter: no such table
            connection.close()
            raise
    connection.close()
    return None


def _is_catalog(connection: sqlite3.Connection) -> bool:
    found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    for table in TABLES:
        connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()
    return found == [APPLICATION, VERSION]


def _created(folder: Path) -> sqlite3.Connection:
    connection = _connect(folder / NAME, "rwc")
    try:
        _tune(connection)
        connection.executescript(SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


def _demand_sound(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(f"the copy is corrupt: {found}")


def _restored(folder: Path) -> bool:
    """Puts the last copy in the catalog's place. False where there is none."""
    copy, new = folder / f"{NAME}.backup", folder / f"{NAME}.new"
    if copy.is_symlink() or not copy.is_file():
        return False
    _unlink(new)
    shutil.copyfile(copy, new)
    _sync_file(new)
    new.rename(folder / NAME)
    sync_folder(folder)
    return True


def _move_aside(folder: Path) -> None:
    """The log goes with its database: beside another one SQLite would replay it into that."""
    names = (re.fullmatch(rf"{NAME}\.corrupt-(\d+)(?:-wal|-shm)?", path.name) for path in folder.iterdir())
    kept = sorted({int(found[1]) for found in names if found})
    number = kept[-1] + 1 if kept else 1
    for ending in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            (folder / f"{NAME}{ending}").rename(folder / f"{NAME}.corrupt-{number}{ending}")
    for old in kept[: max(0, len(kept) + 1 - CORRUPT_KEPT)]:
        for ending in ("", "-wal", "-shm"):
            _unlink(folder / f"{NAME}.corrupt-{old}{ending}")
    _unlink(folder / f"{NAME}.suspect")
    sync_folder(folder)


def _unlink(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
