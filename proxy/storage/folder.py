"""The cache folder as a whole: can we use it, is it of a format we know, and are we alone in it?

One process per folder, held by a lock that the kernel drops when the process dies in any way. Nothing is written into a
folder that was not empty and bears no stamp: it may be somebody's home. A folder of ours is for us alone. One that
another user made for us, as Kubernetes and Docker make theirs, is used where we can write to it, and told. What is in
it is for us alone in any case. Where the disk does not let us make, lock or stamp the folder now, that is done when it
does, and nothing is written into it before.
"""

import errno
import fcntl
import logging
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from proxy.storage.home import LATER, sync_names

log = logging.getLogger("entrepot.storage")

FORMAT = "entrepot 1"
_STAMP = "format"
_LOCK = "lock"
_FRESH = re.compile(rf"{_LOCK}|{_STAMP}\.new|lost\+found")  # what an unstamped folder may hold
_OWN = re.compile(rf"{_FRESH.pattern}|blobs|ingest|quarantine|catalog([.-].*)?")  # or one that lost its stamp in use
_LONGEST_STAMP = 100
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)  # flock(2); NFS answers the first where no lock server runs


class FolderRefused(Exception):
    """The cache folder cannot be used; ``str()`` is a sentence for the operator. Exit code 2."""


class CacheFolder:
    """The folder at ``path``, held until ``close``, or as soon as ``claim`` finds that its disk allows it. Raises
    FolderRefused for what a person has to mend."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1
        self._is_ours = False  # it has been, at least once
        self._claiming = threading.Lock()
        try:
            self._take_over()
        except OSError as error:
            if error.errno not in LATER:
                raise FolderRefused(f"{path} cannot be used as cache folder: {error.strerror or error}") from error
            log.error("%s takes nothing now (%s): it is used as far as that goes", path, error.strerror)

    def claim(self) -> None:
        """Makes sure that it is there, ours and stamped, before anything is made in it: the first time where the disk
        did not allow it before, and again where it was removed, emptied or covered by a volume under the running
        process. From any thread. Raises OSError."""
        with self._claiming:
            try:
                self._keep() if self._is_ours else self._take_over()
            except FolderRefused as refusal:
                raise OSError(errno.EBUSY, str(refusal)) from refusal

    def _take_over(self) -> None:
        """What is in it was not made by this process. Raises FolderRefused, OSError."""
        _make(self.path)
        _check_rights(self.path)
        self._hold()
        stamped = _is_stamped(self.path, _FRESH)
        _keep_others_out(self.path)
        _keep_contents_private(self.path)
        self._is_ours = True
        if not stamped:
            _write_stamp(self.path)

    def _keep(self) -> None:
        """What a cache has may be in it by now. Raises FolderRefused, OSError."""
        _make(self.path)
        self._hold()
        if not _is_stamped(self.path, _OWN):
            _write_stamp(self.path)

    def close(self) -> None:
        """Idempotent."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def _hold(self) -> None:
        lock = _open_lock(self.path)
        if self._lock >= 0 and _is_stale(self._lock):
            self.close()
        before = self._lock
        if before >= 0 and os.path.samestat(os.fstat(lock), os.fstat(before)):
            os.close(lock)  # what is locked by us already, the folder itself perhaps
            return
        _take(lock, self.path)
        if before < 0 and not _is_free(self.path, lock):
            os.close(lock)
            raise FolderRefused(_in_use(self.path, "unknown"))
        self._lock = lock
        if before >= 0:
            os.close(before)


@contextmanager
def cache_folder(path: Path) -> Iterator[CacheFolder]:
    """Holds the folder meanwhile. Raises FolderRefused."""
    folder = CacheFolder(path)
    try:
        yield folder
    finally:
        folder.close()


def _make(path: Path) -> None:
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _check_rights(path: Path) -> None:
    found = path.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise FolderRefused(f"{path} is not a folder")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK) and not _is_read_only(path):
        raise FolderRefused(
            f"{path} belongs to user {found.st_uid}, and this process runs as user {os.geteuid()} and may not write to "
            f"it; give it away with: chown -R {os.geteuid()} {path} (in Kubernetes: set fsGroup)"
        )
    if found.st_uid != os.geteuid():
        log.warning("%s belongs to user %d, and this process runs as user %d: it is used all the same",
                    path, found.st_uid, os.geteuid())  # fmt: skip


def _is_read_only(path: Path) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _keep_others_out(path: Path) -> None:
    """It is empty or a cache, so nobody else has business in it. In one of another user's that user has, and perhaps a
    group by which we may write to it."""
    found = path.stat()
    mode = stat.S_IMODE(found.st_mode)
    surplus = mode & (_OTHERS if found.st_uid == os.geteuid() else stat.S_IWOTH)
    if not surplus:
        return
    try:
        path.chmod(mode & ~surplus)
        log.warning("%s was open to others (mode %04o): that is taken away (%04o)", path, mode, mode & ~surplus)
    except OSError:
        log.warning("%s is open to others (mode %04o), and user %d could change that with: chmod %04o %s",
                    path, mode, found.st_uid, mode & ~surplus, path)  # fmt: skip


def _keep_contents_private(path: Path) -> None:
    """What an earlier version or a person with another umask made here. Before the catalog is opened: SQLite's locks go
    with any descriptor of its file that is closed."""
    for name in os.listdir(path):
        with suppress(OSError):  # a link, somebody else's, or on a disk that takes nothing
            _keep_private(os.open(path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))


def _keep_private(descriptor: int) -> None:
    """Of a file or folder of ours, which is closed then."""
    try:
        found = os.fstat(descriptor)
        if found.st_uid == os.geteuid() and found.st_mode & _OTHERS:
            os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & ~_OTHERS)
    finally:
        os.close(descriptor)


def _is_stale(lock: int) -> bool:
    """Of NFS: nothing can be said of what was open, nor is it a lock any more."""
    try:
        os.fstat(lock)
    except OSError as error:
        return error.errno == errno.ESTALE
    return False


def _take(lock: int, path: Path) -> None:
    """The open lock of the folder at ``path``, which is closed where another process has it. Its file stays when it is
    given back: removing it would let two in."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with suppress(OSError):  # only for people, and a full disk takes not even this
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        holder = _holder(lock)
        os.close(lock)
        raise FolderRefused(_in_use(path, holder)) from error
    except OSError as error:
        os.close(lock)
        if error.errno not in _NO_LOCKS:
            raise
        raise FolderRefused(
            f"{path} is on a file system without locks ({error.strerror}), so nothing would keep a second process out; "
            "name a folder on a local disk, or mount it with locks (NFS: without nolock, with its lock service running)"
        ) from error
    except BaseException:
        os.close(lock)
        raise


def _is_free(path: Path, lock: int) -> bool:
    """Is nobody there who started when the disk took no lock, and has locked the folder itself? ``lock`` is ours. Where
    that cannot be asked, as on file systems that lock no folders, nobody is."""
    with suppress(OSError):
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not os.path.samestat(os.fstat(folder), os.fstat(lock)):
                fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(folder)
    return True


def _in_use(path: Path, holder: str) -> str:
    return f"{path} is in use by process {holder}; a cache folder serves one process"


def _open_lock(path: Path) -> int:
    """Where the disk takes no file, what is there is locked: the file that it has, or the folder."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | flags, 0o600)
    except OSError as error:
        if error.errno not in LATER:
            raise
    try:
        return os.open(path / _LOCK, os.O_RDONLY | flags)
    except FileNotFoundError:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | flags)


def _holder(lock: int) -> str:
    with suppress(OSError):
        return os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
    return "unknown"


def _is_stamped(path: Path, known: re.Pattern[str]) -> bool:
    """``known`` is what it may hold where it has no stamp. Raises FolderRefused."""
    found = _read_stamp(path)
    if found is not None and found != FORMAT:
        raise FolderRefused(
            f"{path} has the format {found[:40]!r}, and this version reads {FORMAT!r}; "
            "use the version that wrote it, or another folder"
        )
    if found is None and (foreign := sorted(name for name in os.listdir(path) if not known.fullmatch(name))):
        raise FolderRefused(
            f"{path} is not empty and not a cache of Entrepot: it holds {foreign[0]!r}; name another folder"
        )
    return found is not None


def _read_stamp(path: Path) -> str | None:
    """None where there is none, or an empty one that a full disk left."""
    try:
        with open(path / _STAMP, encoding="utf-8", errors="replace", opener=_open_here) as file:
            return file.read(_LONGEST_STAMP).strip() or None
    except FileNotFoundError:
        return None


def _open_here(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _write_stamp(path: Path) -> None:
    new = path / f"{_STAMP}.new"
    with suppress(FileNotFoundError):
        new.unlink()  # of a start that was killed, or a link to somebody's file
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(f"{FORMAT}\n")
        file.flush()
        os.fsync(file.fileno())
    new.rename(path / _STAMP)
    sync_folder(path)


def sync_folder(path: Path) -> None:
    """Makes the names in the folder durable. Raises OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_names(folder)
    finally:
        os.close(folder)
