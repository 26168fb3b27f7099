"""The catalog's file: opened, brought to today's version, built anew or brought back where it is damaged or lost, and
copied while it is in use.

    catalog (-wal, -shm)     the database
    catalog.backup           its last copy; a copy replaces it only after SQLite has checked every page of the new one
    catalog.new              one that is being built
    catalog.corrupt-N        what was moved aside, the newest few

Opening looks at the header, the length of the file, the schema and one row of each table, never at every page: it takes
the same time for a million rows as for none. What only a page deep inside could tell shows when that page is read.
"""

import logging
import os
import re
import shutil
import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from proxy.core.errors import StoreFailed
from proxy.storage.contract import Recovery
from proxy.storage.folder import sync_folder
from proxy.storage.schema import APPLICATION, TABLES, VERSION, build, create, has_todays_tables

log = logging.getLogger("entrepot.catalog")

NAME = "catalog"
CORRUPT_KEPT = 3
COPY_RATE = 64 << 20  # bytes per second
_PORTION = 64  # pages copied in one step
# Instructions of SQLite's machine, some 20 µs, after which the core is offered to whoever waits for it. A kernel
# without preemption would let the event loop wait there for a whole query, even where another core is idle.
_TURN = 500
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class RowDamaged(sqlite3.DatabaseError):
    """A row holds what was never written into it."""


FAILURES = (sqlite3.Error, UnicodeDecodeError)
"""What a catalog answers that does not work; the latter where SQLite speaks of a name that is no text any more."""


def is_damage(error: Exception) -> bool:
    """Does it tell of a damaged catalog? A disk that fails or is full says nothing about the file."""
    code, text = primary_code(error), str(error)
    undecodable = code == 0 and text.startswith("Could not decode")
    unknown = code == sqlite3.SQLITE_ERROR and text.startswith("no such ")  # what the schema had when it was made
    return isinstance(error, RowDamaged | UnicodeDecodeError) or undecodable or unknown or code in _DAMAGE


def primary_code(error: Exception) -> int:
    """SQLite's primary result code: the low byte of the extended one. 0 where the error is not SQLite's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def open_catalog(folder: Path) -> tuple[sqlite3.Connection, Recovery]:
    """Ends with a catalog that works, unless the folder itself fails. One that another version wrote is kept aside, and
    what can be read of it is taken over. Raises OSError or sqlite3.Error."""
    if opened := _opened(folder):
        return opened
    is_first = not _move_aside(folder)
    if _restored(folder):
        if opened := _opened(folder):
            log.error("the catalog was lost or damaged: it is back from its copy, and what is newer is looked for")
            return opened[0], Recovery.FROM_COPY
        _move_aside(folder)
    if not is_first:
        log.error("the catalog cannot be read and has no copy: a new one begins, and what is stored is looked for")
    connection = _connect(folder / NAME, "rwc")
    try:
        _tune(connection)
        create(connection)
    except BaseException:
        connection.close()
        raise
    return connection, Recovery.NEW if is_first and not _holds_something(folder) else Recovery.EMPTY


def _holds_something(folder: Path) -> bool:
    return any(folder.glob("blobs/*/*/*"))


def mend_catalog(folder: Path, damaged: sqlite3.Connection) -> tuple[sqlite3.Connection, Recovery]:
    """The catalog again, from the rows of the damaged one that are sound; from the copy where its pages cannot be read.
    ``damaged`` is closed then, and what was its file is moved aside. Raises OSError or sqlite3.Error:
    ``damaged`` may still be used then."""
    try:
        dropped = _build(folder, damaged, VERSION)
    except FAILURES as error:
        if not is_damage(error):
            raise
        log.error("the catalog cannot be read through (%s): it is brought back from its copy", error)
        damaged.close()
        _move_aside(folder)
        return open_catalog(folder)
    log.error("the catalog was damaged: it is built anew, without %d rows that could not be read", dropped)
    damaged.close()
    _move_aside(folder)
    return _put_in_place(folder), Recovery.MENDED


def write_down(folder: Path, memory: sqlite3.Connection) -> sqlite3.Connection:
    """The catalog that was kept in memory meanwhile takes the place of the one on the disk, which is moved aside.
    Raises OSError or sqlite3.Error: ``memory`` goes on then."""
    _build(folder, memory, VERSION)
    _move_aside(folder)
    connection = _put_in_place(folder)
    memory.close()
    return connection


def read_into_memory(folder: Path) -> tuple[sqlite3.Connection, Recovery]:
    """A catalog in memory, with what can be read of the one on a disk that takes no writes. What is only in its log is
    read where a copy beside it can be made anywhere. Never raises."""
    if (folder / NAME).exists():
        for look in (_looked_at_in_a_copy, _looked_at_as_it_is):
            memory = _connect_to(":memory:")
            try:
                look(folder, memory)
            except (OSError, *FAILURES) as cause:
                log.warning("the catalog cannot be read: %s", cause)
                memory.close()
            else:
                return memory, Recovery.INTACT
    memory = _connect_to(":memory:")
    create(memory)
    return memory, Recovery.EMPTY if (folder / NAME).exists() else Recovery.NEW


def _looked_at_in_a_copy(folder: Path, memory: sqlite3.Connection) -> None:
    with TemporaryDirectory(prefix="entrepot-") as place:
        for ending in ("", "-wal"):
            if (folder / f"{NAME}{ending}").exists():
                shutil.copyfile(folder / f"{NAME}{ending}", Path(place) / f"{NAME}{ending}")
        with closing(_connect(Path(place) / NAME, "rw")) as copy:
            _read_over(copy, memory)


def _looked_at_as_it_is(folder: Path, memory: sqlite3.Connection) -> None:
    with closing(_connect(folder / NAME, "ro&immutable=1")) as source:
        _read_over(source, memory)


def _read_over(source: sqlite3.Connection, memory: sqlite3.Connection) -> None:
    version = _version(source)
    if version is None:
        raise sqlite3.DatabaseError("it is no catalog")
    if version == VERSION:
        source.backup(memory)
    else:
        build(source, VERSION if _is_foreign(source, version) else version, memory)


def copy_catalog(folder: Path, given_up: threading.Event, rate: float = COPY_RATE) -> None:
    """Copies one state of the catalog while it is in use, at so many bytes per second. Waits for no writer and holds
    none up. Raises OSError or sqlite3.Error, and StoreFailed once it is given up."""
    new = folder / f"{NAME}.backup.new"
    _unlink(new)
    with closing(_connect(folder / NAME, "rw")) as source, closing(_connect(new, "rwc")) as target:
        # Nothing of an unfinished copy is ever used, so it needs neither a journal nor a sync of its own.
        target.execute("PRAGMA synchronous = OFF")
        target.execute("PRAGMA journal_mode = OFF")
        # The state of this moment is held: else each write meanwhile would make the copy begin again.
        source.execute("BEGIN")
        (page,) = source.execute("PRAGMA page_size").fetchone()
        source.execute("SELECT 1 FROM note LIMIT 1").fetchone()

        def rest(*_: int) -> None:
            if given_up.wait(_PORTION * page / rate):
                raise StoreFailed("the copy of the catalog was given up")

        source.backup(target, pages=_PORTION, progress=rest)
        target.execute("PRAGMA journal_mode = DELETE")  # one file, with no log beside it
        _demand_sound(target)
    _sync_file(new)
    new.rename(folder / f"{NAME}.backup")
    sync_folder(folder)


def _opened(folder: Path) -> tuple[sqlite3.Connection, Recovery] | None:
    """None where there is no catalog of ours that can be read."""
    path = folder / NAME
    if not path.is_file() or path.is_symlink():
        return None
    connection = _connect(path, "rw")
    try:
        version = _version(connection)
        if version is not None and _is_foreign(connection, version):
            return _taken_over(folder, connection, version), Recovery.FOREIGN
        if version == VERSION:
            _tune(connection)
            return connection, Recovery.INTACT
        if version is not None:
            return _migrated(folder, connection, version), Recovery.MIGRATED
    except FAILURES as error:
        if not is_damage(error):
            connection.close()
            raise
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None


def _version(connection: sqlite3.Connection) -> int | None:
    """None where it is no catalog of ours; of a later one, what it states."""
    application, version = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("application_id", "user_version")
    )
    if application != APPLICATION or version < min(TABLES):
        return None
    for table in TABLES.get(version, ()):
        connection.execute(f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT 1)").fetchone()
    return version


def _is_foreign(connection: sqlite3.Connection, version: int) -> bool:
    """Did another version of Entrepot write it than one that this one knows? It states a later version, or tables that
    the version it states does not have."""
    return version > VERSION or (version < VERSION and has_todays_tables(connection))


def _taken_over(folder: Path, old: sqlite3.Connection, version: int) -> sqlite3.Connection:
    """Raises sqlite3.Error where nothing can be read of it; it is damaged then, as far as this version can tell."""
    dropped = _build(folder, old, VERSION)
    old.close()
    aside = _move_aside(folder)
    log.error("the catalog states version %d, which another version of Entrepot wrote, and this one writes %d: it is "
              "kept as %s, and what could be read of it is taken over (%d rows could not)",
              version, VERSION, aside, dropped)  # fmt: skip
    return _put_in_place(folder)


def _put_in_place(folder: Path) -> sqlite3.Connection:
    """What was built becomes the catalog, whose name is free."""
    (folder / f"{NAME}.new").rename(folder / NAME)
    sync_folder(folder)
    connection = _connect(folder / NAME, "rw")
    _tune(connection)
    return connection


def _migrated(folder: Path, old: sqlite3.Connection, version: int) -> sqlite3.Connection:
    """Until the new one is whole and on the disk, the old one stays."""
    dropped = _build(folder, old, version)
    if dropped:
        log.error("%d rows of the catalog could not be read and are dropped", dropped)
    old.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # else its log would be replayed into the new one
    old.close()
    connection = _put_in_place(folder)
    log.info("the catalog is brought from version %d to %d", version, VERSION)
    return connection


def _build(folder: Path, old: sqlite3.Connection, version: int) -> int:
    """``catalog.new`` is there, on the disk; returns how many rows of the old one were not sound."""
    path = folder / f"{NAME}.new"
    for ending in ("", "-wal", "-shm", "-journal"):
        _unlink(path.with_name(f"{path.name}{ending}"))
    with closing(_connect(path, "rwc")) as new:
        new.execute("PRAGMA auto_vacuum = INCREMENTAL")
        new.execute("PRAGMA synchronous = OFF")
        dropped = build(old, version, new)
    _sync_file(path)
    return dropped


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """``mode`` is SQLite's: ``rw`` demands the file, ``rwc`` makes it."""
    if mode == "rwc":  # for this user alone, and so is what SQLite makes beside it
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    return _connect_to(f"{path.absolute().as_uri()}?mode={mode}")


def _connect_to(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    connection.set_progress_handler(os.sched_yield, _TURN)
    return connection


def _tune(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before anything is written to a new file
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -16384")  # KiB
    connection.execute("PRAGMA journal_size_limit = 67108864")


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


def _move_aside(folder: Path) -> str:
    """The name that it has now; empty where nothing was there. The log goes with its database: beside another one
    SQLite would replay it into that."""
    moved = ""
    names = (re.fullmatch(rf"{NAME}\.corrupt-(\d+)(?:-wal|-shm)?", path.name) for path in folder.iterdir())
    kept = sorted({int(found[1]) for found in names if found})
    number = kept[-1] + 1 if kept else 1
    for ending in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            (folder / f"{NAME}{ending}").rename(folder / f"{NAME}.corrupt-{number}{ending}")
            moved = f"{NAME}.corrupt-{number}"
    for old in kept[: max(0, len(kept) + 1 - CORRUPT_KEPT)]:
        for ending in ("", "-wal", "-shm"):
            _unlink(folder / f"{NAME}.corrupt-{old}{ending}")
    sync_folder(folder)
    return moved


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
