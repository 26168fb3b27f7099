"""The catalog's file: opened, brought to today's version, built anew or brought back where it is damaged or lost, and
copied while it is in use. Its files are those of ``catalog_files``.

Opening looks at the header, the length of the file, the schema and one row of each table, never at every page: it takes
the same time for a million rows as for none. What only a page deep inside could tell shows when that page is read.
"""

import logging
import os
import shutil
import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from proxy.core.errors import StoreFailed
from proxy.storage.catalog_files import (
    BACKUP,
    NAME,
    NEW,
    clear,
    connect,
    connect_new,
    connect_to,
    is_file,
    move_aside,
    names,
    rename_all,
    sync_file,
    tune,
)
from proxy.storage.folder import sync_folder
from proxy.storage.home import NEW_FILE
from proxy.storage.recoveries import Recovery
from proxy.storage.schema import APPLICATION, TABLES, VERSION, build, create, has_todays_tables

log = logging.getLogger("entrepot.catalog")

COPY_RATE = 64 << 20  # bytes per second
_STEP = 1 << 20  # bytes of a copy at a time
_PORTION = 64  # pages copied in one step
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
    is_first = not move_aside(folder)
    if _restored(folder):
        if opened := _opened(folder):
            log.error("the catalog was lost or damaged: it is back from its copy, and what is newer is looked for")
            return opened[0], Recovery.FROM_COPY
        move_aside(folder)
    if not is_first:
        log.error("the catalog cannot be read and has no copy: a new one begins, and what is stored is looked for")
    with closing(connect_new(folder / NAME)) as new:
        new.execute("PRAGMA synchronous = OFF")  # it is empty, so one sync of it will do
        new.execute("PRAGMA auto_vacuum = INCREMENTAL")
        create(new)
        new.execute("PRAGMA journal_mode = WAL")
    sync_file(folder / NAME)  # not while it is in use: its lock goes with any descriptor of it that is closed
    return _in_use(folder), Recovery.NEW if is_first and not _holds_something(folder) else Recovery.EMPTY


def _holds_something(folder: Path) -> bool:
    return any(folder.glob("blobs/*/*/*"))


def mend_catalog(folder: Path, damaged: sqlite3.Connection) -> tuple[sqlite3.Connection, Recovery]:
    """The catalog again, from the rows of the damaged one that are sound; from the copy where its pages cannot be read.
    ``damaged`` is closed then, and what was its file is moved aside. Raises OSError or sqlite3.Error:
    ``mend_in_memory`` is what is left then."""
    try:
        dropped = _build(folder, damaged, VERSION)
    except FAILURES as error:
        if not is_damage(error):
            raise
        log.error("the catalog cannot be read through (%s): it is brought back from its copy", error)
        damaged.close()
        move_aside(folder)
        return open_catalog(folder)
    log.error("the catalog was damaged: it is built anew, without %d rows that could not be read", dropped)
    damaged.close()
    return _replaced(folder)[0], Recovery.MENDED


def mend_in_memory(folder: Path, damaged: sqlite3.Connection) -> tuple[sqlite3.Connection, Recovery]:
    """The same on a disk that does not take it now; ``damaged`` is closed, if it is not yet. Never raises."""
    memory = connect_to(":memory:")
    try:
        build(damaged, VERSION, memory)
        damaged.close()
    except FAILURES:  # a closed one is one that cannot be read
        memory.close()
        damaged.close()
        return read_into_memory(folder)
    return memory, Recovery.MENDED


def write_down(folder: Path, memory: sqlite3.Connection) -> sqlite3.Connection:
    """The catalog that was kept in memory meanwhile takes the place of the one on the disk, which is moved aside.
    Raises OSError or sqlite3.Error: ``memory`` goes on then."""
    _build(folder, memory, VERSION)
    connection, _ = _replaced(folder)
    memory.close()
    return connection


def read_into_memory(folder: Path) -> tuple[sqlite3.Connection, Recovery]:
    """A catalog in memory, with what can be read of the one on a disk that takes no writes, or else of its copy: once
    it is written down, that is all there is. Never raises."""
    for name, look, recovery in (
        (NAME, _look_at_a_copy, Recovery.INTACT),
        (NAME, _look_at_it_as_it_is, Recovery.INTACT),
        (BACKUP, _look_at_it_as_it_is, Recovery.FROM_COPY),
    ):
        if is_file(folder / name):
            memory = connect_to(":memory:")
            try:
                look(folder / name, memory)
                _demand_sound(memory)
            except (OSError, *FAILURES) as cause:
                log.warning("%s cannot be read: %s", name, cause)
                memory.close()
            else:
                return memory, recovery
    memory = connect_to(":memory:")
    create(memory)
    is_first = not (folder / NAME).exists() and not _holds_something(folder)
    return memory, Recovery.NEW if is_first else Recovery.EMPTY


def _look_at_a_copy(path: Path, memory: sqlite3.Connection) -> None:
    """What is only in its log can be read where a copy beside it can be made anywhere."""
    with TemporaryDirectory(prefix="entrepot-") as place:
        for ending in ("", "-wal"):
            if is_file(path.with_name(f"{path.name}{ending}")):
                shutil.copyfile(path.with_name(f"{path.name}{ending}"), Path(place) / f"{NAME}{ending}")
        with closing(connect(Path(place) / NAME)) as copy:
            _read_over(copy, memory)


def _look_at_it_as_it_is(path: Path, memory: sqlite3.Connection) -> None:
    with closing(connect(path, "ro&immutable=1")) as source:
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
    new = folder / f"{BACKUP}.new"
    clear(new)
    with closing(connect(folder / NAME)) as source, closing(connect_new(new)) as target:
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
    sync_file(new)
    new.rename(folder / BACKUP)
    sync_folder(folder)


def _opened(folder: Path) -> tuple[sqlite3.Connection, Recovery] | None:
    """None where there is no catalog of ours that can be read."""
    path = folder / NAME
    if not is_file(path):
        return None
    for beside in map(path.with_name, names(NAME)[1:]):
        if beside.is_symlink():  # SQLite would write through it
            beside.unlink()
    connection = connect(path)
    try:
        version = _version(connection)
        if version is not None and _is_foreign(connection, version):
            return _taken_over(folder, connection, version), Recovery.FOREIGN
        if version == VERSION:
            tune(connection)
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
    connection, aside = _replaced(folder)
    log.error("the catalog states version %d, which another version of Entrepot wrote, and this one writes %d: it is "
              "kept as %s, and what could be read of it is taken over (%d rows could not)",
              version, VERSION, aside, dropped)  # fmt: skip
    return connection


def _replaced(folder: Path) -> tuple[sqlite3.Connection, str]:
    """What was built becomes the catalog. What was the catalog is moved aside, and its name there comes with it; where
    that fails it is back in its place, so that no number of tries makes it one among many. Raises OSError or
    sqlite3.Error."""
    aside = move_aside(folder)
    try:
        return _put_in_place(folder), aside
    except BaseException:
        with suppress(OSError):
            (folder / NAME).rename(folder / NEW)
        if aside:
            rename_all(folder, aside, NAME)
        raise


def _put_in_place(folder: Path) -> sqlite3.Connection:
    """What was built becomes the catalog, whose name is free. Raises OSError or sqlite3.Error."""
    (folder / NEW).rename(folder / NAME)
    sync_folder(folder)
    return _in_use(folder)


def _in_use(folder: Path) -> sqlite3.Connection:
    connection = connect(folder / NAME)
    try:
        tune(connection)
    except BaseException:
        connection.close()
        raise
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
    path = folder / NEW
    clear(path)
    with closing(connect_new(path)) as new:
        new.execute("PRAGMA auto_vacuum = INCREMENTAL")
        new.execute("PRAGMA synchronous = OFF")
        dropped = build(old, version, new)
        new.execute("PRAGMA journal_mode = WAL")  # a disk that has no room for a log says so before the exchange
    sync_file(path)
    return dropped


def _demand_sound(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(f"the copy is corrupt: {found}")


def _restored(folder: Path) -> bool:
    """Puts the last copy in the catalog's place. False where there is none."""
    copy, new = folder / BACKUP, folder / NEW
    if not is_file(copy):
        return False
    clear(new)
    with open(copy, "rb") as source, os.fdopen(os.open(new, NEW_FILE, 0o600), "wb") as target:
        shutil.copyfileobj(source, target, _STEP)
    sync_file(new)
    new.rename(folder / NAME)
    sync_folder(folder)
    return True
