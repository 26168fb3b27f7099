"""The folders of the store, open: every name in them is reached through their descriptors.

    blobs/<algorithm>/   ingest/   quarantine/

What a disk does not let us make is missing for now, and so is what it would hold: ``renew`` makes it when the disk is
well, and again where somebody removed it under the running process.
"""

import errno
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from proxy.storage.faults import faults

log = logging.getLogger("entrepot.storage")

ALGORITHMS = ("sha256", "sha512")
PRIVATE = 0o700
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# What was open there is to be opened again: ESTALE is of NFS, ENOTCONN of FUSE, and of folders not open yet.
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ENOTCONN)
# A disk that may take it at another time: full, read-only, broken, or not there now.
LATER = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOENT, errno.ESTALE, errno.ENOTCONN, errno.EBUSY)
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP)  # a file system that keeps names by itself


class _Folders(NamedTuple):
    root: int
    ingest: int
    quarantine: int
    algorithms: Mapping[str, int]
    owners: tuple[int, int]


def no_claim() -> None:
    """The folder needs no claim."""


class Home:
    """Nothing is open, and nothing made, before the first ``renew``. ``claim`` is called before anything is made: it
    makes sure of the cache folder itself. Raises OSError."""

    def __init__(self, path: Path, claim: Callable[[], object] = no_claim) -> None:
        self._path = path
        self._claim = claim
        self._renewing = threading.Lock()
        self._opened = ExitStack()  # those that were replaced too: somebody may be using them
        self._root = -1
        self._folders: _Folders | None = None

    def close(self) -> None:
        """Idempotent."""
        self._opened.close()

    @property
    def ingest(self) -> int:
        return self._there().ingest

    @property
    def quarantine(self) -> int:
        return self._there().quarantine

    def algorithm(self, name: str) -> int:
        """The folder of what is held under that algorithm."""
        return self._there().algorithms[name]

    @property
    def owners(self) -> tuple[int, int]:
        """Whose files are ours: this user's, and those of the folder's own user, whom a file system of another machine
        may put in this one's place."""
        return self._there().owners

    def free_space(self) -> tuple[int, int]:
        """As ``BlobStore.free_space``. Raises NoSpace or StoreFailed."""
        with faults("ask for free space"):
            found = os.fstatvfs(self._root) if self._root >= 0 else os.statvfs(self._path)
        return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize

    def renew(self) -> bool:
        """Makes what is missing; False where nothing was."""
        with self._renewing:
            if self._is_whole():
                return False
            is_first = self._folders is None
            self._claim()
            # A folder at the path that is another one, while ours still has names, is what a mount was lifted from.
            if self._root < 0 or (not self._is_at_path() and not self._has_names()):
                self._root = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                self._opened.callback(os.close, self._root)
            self._make()
        if not is_first:
            log.warning("%s: folders of the store were missing, and are made again", self._path)
        return True

    def _there(self) -> _Folders:
        if self._folders is None:  # nobody knows what is held there: that is not to hold nothing
            raise OSError(errno.ENOTCONN, "the folders of the store are not open")
        return self._folders

    def _make(self) -> None:
        with ExitStack() as opened:

            def make(parent: int, *names: str) -> list[int]:
                folders = make_folders(names, parent)
                for folder in folders:
                    opened.callback(os.close, folder)
                return folders

            ingest, quarantine, blobs = make(self._root, "ingest", "quarantine", "blobs")
            algorithms = dict(zip(ALGORITHMS, make(blobs, *ALGORITHMS), strict=True))
            owners = os.geteuid(), os.fstat(self._root).st_uid
            self._folders = _Folders(self._root, ingest, quarantine, algorithms, owners)
            self._opened.push(opened.pop_all())

    def _is_at_path(self) -> bool:
        with _gone_is_no():
            return os.path.samestat(os.stat(self._path), os.fstat(self._root))
        return False

    def _has_names(self) -> bool:
        with _gone_is_no():
            return bool(os.listdir(self._root))
        return False

    def _is_whole(self) -> bool:
        folders = self._folders
        if folders is None:
            return False
        named = {"ingest": folders.ingest, "quarantine": folders.quarantine}
        named.update({f"blobs/{name}": folder for name, folder in folders.algorithms.items()})
        with _gone_is_no():
            return all(
                os.path.samestat(os.stat(name, dir_fd=folders.root), os.fstat(folder)) for name, folder in named.items()
            )
        return False


@contextmanager
def _gone_is_no() -> Iterator[None]:
    """What is gone answers no question."""
    try:
        yield
    except OSError as error:
        if error.errno not in GONE:
            raise


def make_folder(name: str, parent: int) -> int:
    """A descriptor of the folder, made durable first where it is new. It is for us alone, whatever the umask."""
    [folder] = make_folders((name,), parent)
    return folder


def make_folders(names: Sequence[str], parent: int) -> list[int]:
    """The same for several, which are made durable by one sync: a slow disk takes seconds for each."""
    if any([_is_made(name, parent) for name in names]):
        sync_names(parent)
    with ExitStack() as opened:
        folders = []
        for name in names:
            folders.append(_private(name, parent))
            opened.callback(os.close, folders[-1])
        opened.pop_all()
    return folders


def _is_made(name: str, parent: int) -> bool:
    """False where it was there."""
    try:
        os.mkdir(name, PRIVATE, dir_fd=parent)
    except FileExistsError:
        return False
    return True


def _private(name: str, parent: int) -> int:
    folder = os.open(name, FOLDER, dir_fd=parent)
    found = os.fstat(folder)
    if stat.S_IMODE(found.st_mode) != PRIVATE and found.st_uid == os.geteuid():
        with suppress(OSError):  # a disk that takes nothing now
            os.fchmod(folder, PRIVATE)
    return folder


def sync_names(folder: int) -> None:
    """Makes the names in the open folder durable, where its file system has to be told. Raises OSError."""
    try:
        os.fsync(folder)
    except OSError as cause:
        if cause.errno not in _NO_SYNC:
            raise


def is_regular(found: os.stat_result, owners: tuple[int, int]) -> bool:
    """Is it a file of ours?"""
    return stat.S_ISREG(found.st_mode) and found.st_uid in owners
