"""Bytes on a local file system.

    blobs/<algorithm>/<2 hex>/<hex>   exactly the bytes of that digest, mode 0444
    ingest/<random>                   bytes without a name yet
    quarantine/                       what was found in the way, bounded

Commit order: all bytes written, size checked, made read-only and sealed, file synced, renamed, folder synced. So a name
under ``blobs/`` always stands for whole, durable bytes. A failed sync is final: nothing says which pages it lost, so
the ingest is thrown away and never synced again.
"""

import hashlib
import logging
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from proxy.core.errors import ContentMissing, StoreFailed
from proxy.core.names import Digest
from proxy.core.spans import Span, Spans
from proxy.storage.faults import fault_of, faults, reported
from proxy.storage.health import StorageHealth
from proxy.storage.quarantine import Quarantine, erase
from proxy.storage.shards import Shards, make_folder

log = logging.getLogger("entrepot.storage")

SEAL = 1_000_000_000_000_000_000
"""Modification time of committed files, in nanoseconds: one that no clock gives today. Whoever writes to the file
afterwards breaks it, so a changed file shows at no cost when it is opened."""

_ARRIVING = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class DiskReader:
    """Owns its descriptor. ``size`` is what was there when it was opened."""

    __slots__ = ("_descriptor", "size")

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.size = size

    def fileno(self) -> int:
        return self._descriptor

    def read(self, offset: int, length: int) -> bytes:
        try:
            return os.pread(self._descriptor, length, offset)
        except OSError as error:
            raise fault_of(error, "read from the store") from error

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class _Ingests(NamedTuple):
    """What a store's ingests share with it."""

    shards: Shards
    folder: int  # a descriptor of the ingest folder
    arriving: set[str]  # names in it that are somebody's
    health: StorageHealth


class DiskIngest:
    """One file in the ingest folder. Its descriptor lives until the ingest has ended and the last call that uses it has
    returned, so an abort from another thread can never make a late write hit a reused descriptor."""

    def __init__(self, ingests: _Ingests, name: str, descriptor: int) -> None:
        self._ingests = ingests
        self._name = name
        self._descriptor = descriptor
        self._spans = Spans()
        self._lock = threading.Lock()  # spans, users, ended
        self._users = 0
        self._ended = False
        self._naming = threading.Lock()  # held while the name moves, so that open() finds it in one place or the other
        self._digest: Digest | None = None

    def write(self, offset: int, content: bytes | memoryview) -> None:
        rest, position = memoryview(content).cast("B"), offset
        with self._in_use() as descriptor, reported(self._ingests.health, "store", "write to the store"):
            while rest:
                written = os.pwrite(descriptor, rest, position)
                rest, position = rest[written:], position + written
        with self._lock:
            self._spans.add(offset, position)

    def missing(self, size: int) -> list[Span]:
        with self._lock:
            return self._spans.missing(size)

    def open(self) -> DiskReader:
        """After ``commit`` a reader of what was committed; raises ContentMissing after ``abort``."""
        with self._naming:
            if self._digest is not None:
                with faults("open an ingest"):
                    descriptor, found = self._ingests.shards.open(self._digest)
                return DiskReader(descriptor, found.st_size)
            with faults("open an ingest"):
                try:
                    descriptor = os.open(self._name, _ARRIVING, dir_fd=self._ingests.folder)
                except FileNotFoundError as error:
                    raise ContentMissing("the ingest was aborted") from error
                return DiskReader(descriptor, os.fstat(descriptor).st_size)

    def commit(self, digest: Digest, size: int) -> None:
        if self._ended:
            return
        try:
            with self._in_use() as descriptor, reported(self._ingests.health, "store", "commit to the store"):
                there, gaps = os.fstat(descriptor).st_size, self.missing(size)
                if there != size or gaps:
                    raise StoreFailed(f"{there} bytes with gaps {gaps[:3]} came in where {size} were announced")
                os.fchmod(descriptor, 0o444)
                os.utime(descriptor, ns=(SEAL, SEAL))
                os.fsync(descriptor)
                with self._naming:
                    self._ingests.shards.place(self._name, self._ingests.folder, digest)
                    self._digest = digest
                self._ingests.arriving.discard(self._name)
        except BaseException:
            self.abort()
            raise
        self._ingests.health.worked("store")
        self._end()

    def abort(self) -> None:
        """What cannot be removed now is left to the next sweep."""
        if self._end():
            with suppress(OSError):
                os.unlink(self._name, dir_fd=self._ingests.folder)
            self._ingests.arriving.discard(self._name)

    @contextmanager
    def _in_use(self) -> Iterator[int]:
        with self._lock:
            if self._ended:
                raise StoreFailed("the ingest has ended")
            self._users += 1
        try:
            yield self._descriptor
        finally:
            with self._lock:
                self._users -= 1
                if self._ended and not self._users:
                    os.close(self._descriptor)

    def _end(self) -> bool:
        """True the first time."""
        with self._lock:
            if self._ended:
                return False
            self._ended = True
            if not self._users:
                os.close(self._descriptor)
            return True


class DiskStore:
    """The store below ``path``, a folder that only this process uses. Raises NoSpace or StoreFailed, and tells
    ``health`` what it cannot do: keep content (``store``), or remove it (``removal``)."""

    def __init__(self, path: Path, health: StorageHealth | None = None) -> None:
        self.health = health or StorageHealth()
        self._arriving: set[str] = set()
        with ExitStack() as opened, faults(f"open the store in {path}"):
            self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, self._root)
            self._ingest = make_folder("ingest", self._root)
            opened.callback(os.close, self._ingest)
            quarantine = make_folder("quarantine", self._root)
            opened.callback(os.close, quarantine)
            self._shards = Shards(self._root, Quarantine(quarantine))
            opened.callback(self._shards.close)
            self._ingests = _Ingests(self._shards, self._ingest, self._arriving, self.health)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Gives the folders back once every ingest has ended; readers live on. Idempotent."""
        self._opened.close()

    def begin(self) -> DiskIngest:
        name = secrets.token_hex(16)
        self._arriving.add(name)  # before the file exists, so that a sweep never takes it for an orphan
        try:
            with reported(self.health, "store", "begin an ingest"):
                return DiskIngest(self._ingests, name, os.open(name, _NEW_FILE, 0o600, dir_fd=self._ingest))
        except BaseException:
            self._arriving.discard(name)
            raise

    def open(self, digest: Digest) -> DiskReader:
        """A file whose seal is broken is read whole first, and is only given out if its bytes are good."""
        try:
            descriptor, found = self._shards.open(digest)
        except OSError as error:
            raise fault_of(error, f"open {digest}") from error
        reader = DiskReader(descriptor, found.st_size)
        if found.st_mtime_ns != SEAL:
            self._seal_again(reader, digest)
        return reader

    def _seal_again(self, reader: DiskReader, digest: Digest) -> None:
        try:
            with faults(f"verify {digest}"):
                good = _hashes_to(reader.fileno(), digest)
                if good:
                    os.utime(reader.fileno(), ns=(SEAL, SEAL))
        except BaseException:
            reader.close()
            raise
        if not good:
            reader.close()
            self.quarantine(digest)
            raise ContentMissing(f"the file of {digest} was changed and is in quarantine")

    def remove(self, digest: Digest) -> None:
        with reported(self.health, "removal", f"remove {digest}"):
            self._shards.remove(digest)
        self.health.worked("removal")

    def quarantine(self, digest: Digest) -> None:
        with faults(f"quarantine {digest}"):
            self._shards.quarantine(digest)

    def shards(self) -> Iterator[list[tuple[Digest, int]]]:
        with faults("list the store"):
            yield from self._shards.portions()

    def verify(self, digest: Digest) -> bool:
        with faults(f"verify {digest}"):
            descriptor, found = self._shards.open(digest)
            with closing(DiskReader(descriptor, found.st_size)) as reader:
                return _hashes_to(reader.fileno(), digest)

    def sweep(self) -> int:
        with reported(self.health, "removal", "sweep the ingest folder"):
            return sum(self._erase(name) for name in os.listdir(self._ingest) if name not in self._arriving)

    def _erase(self, name: str) -> bool:
        """One that the disk does not let go of keeps nobody from the others."""
        try:
            erase(name, self._ingest)
        except FileNotFoundError:
            return False
        except OSError as cause:
            log.warning("ingest/%s is left over and cannot be removed: %s", name, cause.strerror)
            return False
        return True

    def free_space(self) -> tuple[int, int]:
        with faults("ask for free space"):
            found = os.fstatvfs(self._root)
        return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def _hashes_to(descriptor: int, digest: Digest) -> bool:
    with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
        file.seek(0)
        return hashlib.file_digest(file, digest.algorithm).hexdigest() == digest.encoded
