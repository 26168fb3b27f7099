"""The files of the catalog in its folder, and how they are opened.

    catalog (-wal)           the database
    catalog.backup           its last copy; a copy replaces it only after SQLite has checked every page of the new one
    catalog.new              one that is being built
    catalog.corrupt-N        what was moved aside, the newest few

All are for this user alone. No link is followed: what has one of these names and is none of our files makes way.
"""

import os
import re
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

from proxy.storage.folder import sync_folder
from proxy.storage.home import NEW_FILE

NAME = "catalog"
BACKUP = f"{NAME}.backup"
NEW = f"{NAME}.new"
CORRUPT_KEPT = 3
# Instructions of SQLite's machine, some 20 µs, after which the core is offered to whoever waits for it. A kernel
# without preemption would let the event loop wait there for a whole query, even where another core is idle.
_TURN = 500


def connect(path: Path, mode: str = "rw") -> sqlite3.Connection:
    """``mode`` is SQLite's; the file is there.

    It is locked once, against other processes, until no connection of this one has it open; ours share the index of its
    log in memory (https://www.sqlite.org/vfs.html, ``unix-excl``). So no transaction asks the volume for locks or for
    shared memory, and none waits where it gives none."""
    return connect_to(f"{path.absolute().as_uri()}?mode={mode}&vfs=unix-excl")


def connect_new(path: Path) -> sqlite3.Connection:
    """A new file, for this user alone, and so is what SQLite makes beside it. Without locks: nobody else uses it."""
    os.close(os.open(path, NEW_FILE, 0o600))
    connection = connect_to(f"{path.absolute().as_uri()}?mode=rw&vfs=unix-none")
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # a log without locks wants it
    return connection


_BUSY = 0.2  # seconds in which another process, a person's with SQLite's shell, may let go of the file


def connect_to(uri: str) -> sqlite3.Connection:
    """For use by one thread at a time, whichever it is."""
    connection = sqlite3.connect(uri, _BUSY, uri=True, isolation_level=None, check_same_thread=False)
    connection.set_progress_handler(os.sched_yield, _TURN)
    return connection


def tune(connection: sqlite3.Connection) -> None:
    """As the catalog in use is. Raises sqlite3.Error where it can only be read: SQLite opens it for that where the disk
    refuses more."""
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before anything is written to a new file
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -16384")  # KiB
    connection.execute("PRAGMA journal_size_limit = 67108864")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("COMMIT")


def move_aside(folder: Path) -> str:
    """The name that it has now; empty where nothing was there. The log goes with its database: beside another one
    SQLite would replay it into that."""
    seen = (re.fullmatch(rf"{NAME}\.corrupt-(\d+)(?:-wal|-shm|-journal)?", path.name) for path in folder.iterdir())
    kept = sorted({int(found[1]) for found in seen if found})
    aside = f"{NAME}.corrupt-{kept[-1] + 1 if kept else 1}"
    moved = rename_all(folder, NAME, aside)
    for old in kept[: max(0, len(kept) + 1 - CORRUPT_KEPT)] if moved else ():
        clear(folder / f"{NAME}.corrupt-{old}")
    sync_folder(folder)
    return aside if moved else ""


def rename_all(folder: Path, before: str, after: str) -> bool:
    """A database with all that SQLite has beside it; False where nothing was there."""
    moved = False
    for old, new in zip(names(before), names(after), strict=True):
        with suppress(FileNotFoundError):
            (folder / old).rename(folder / new)
            moved = True
    return moved


def names(database: str) -> tuple[str, ...]:
    """Its own, and what SQLite may have beside it."""
    return tuple(f"{database}{ending}" for ending in ("", "-wal", "-shm", "-journal"))


def clear(path: Path) -> None:
    """Whatever has the name of a database, or stands beside it, goes: links too, and not what they lead to."""
    for each in map(path.with_name, names(path.name)):
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink(missing_ok=True)


def is_file(path: Path) -> bool:
    """And no link to one."""
    return path.is_file() and not path.is_symlink()


def sync_file(path: Path) -> None:
    """Makes its bytes durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
