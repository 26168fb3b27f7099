"""The cache folder as a whole: is it ours, is it of a format we know, and are we alone in it?

One process per folder, held by a lock that the kernel drops when the process dies in any way. Nothing is written into a
folder that was not empty and bears no stamp: it may be somebody's home.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FORMAT = "entrepot 1"
_STAMP = "format"
_LOCK = "lock"
_FRESH = {_LOCK, f"{_STAMP}.new", "lost+found"}  # what an unstamped folder may hold


class FolderRefused(Exception):
    """The cache folder cannot be used; ``str()`` is a sentence for the operator. Exit code 2."""


@contextmanager
def cache_folder(path: Path) -> Iterator[Path]:
    """Makes, checks, locks and stamps the folder, and holds it. Raises FolderRefused."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(path)
        lock = _lock(path)
    except OSError as error:
        raise FolderRefused(f"{path} cannot be used as cache folder: {error.strerror or error}") from error
    try:
        _check_format(path)
        yield path
    finally:
        os.close(lock)


def _check_owner(path: Path) -> None:
    found = path.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise FolderRefused(f"{path} is not a folder")
    if found.st_uid != os.geteuid():
        raise FolderRefused(f"{path} belongs to user {found.st_uid}, and this process runs as user {os.geteuid()}")
    if found.st_mode & stat.S_IWOTH:
        raise FolderRefused(f"{path} can be written by everybody; take that right away with: chmod o-w {path}")


def _lock(path: Path) -> int:
    """A descriptor that holds the lock. The file stays when it is given back: removing it would let two in."""
    lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise FolderRefused(f"{path} is in use by process {holder}; a cache folder serves one process") from error
    except BaseException:
        os.close(lock)
        raise
    return lock


def _check_format(path: Path) -> None:
    try:
        found = _read_stamp(path)
        if found is None:
            _stamp(path)
        elif found != FORMAT:
            raise FolderRefused(
                f"{path} has the format {found[:40]!r}, and this version reads {FORMAT!r}; "
                "use the version that wrote it, or another folder"
            )
    except OSError as error:
        raise FolderRefused(f"{path} cannot be used as cache folder: {error.strerror or error}") from error


def _read_stamp(path: Path) -> str | None:
    try:
        return (path / _STAMP).read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return None


def _stamp(path: Path) -> None:
    if foreign := sorted(set(os.listdir(path)) - _FRESH):
        raise FolderRefused(
            f"{path} is not empty and not a cache of Entrepot: it holds {foreign[0]!r}; name another folder"
        )
    new = path / f"{_STAMP}.new"
    with new.open("w", encoding="utf-8") as file:
        file.write(f"{FORMAT}\n")
        file.flush()
        os.fsync(file.fileno())
    new.rename(path / _STAMP)
    sync_folder(path)


def sync_folder(path: Path) -> None:
    """Makes the names in the folder durable. Raises OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
