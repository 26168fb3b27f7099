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

from proxy.core.errors import ContentMissing, StoreFailed
from proxy.core.names import Digest
from proxy.core.spans import Span, Spans
from proxy.storage.faults import fault_of, faults
from proxy.storage.quarantine import Quarantine, erase
from proxy.storage.shards import Shards, make_folder

log = logging.getLogger("entrepot.storage")

SEAL = 1_000_000_000_000_000_000
"""Modification time of committed files, in nanoseconds: one that no clock gives today. Whoever writes to the file
afterwards breaks it, so a changed file shows at no cost when it is opened."""

_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class DiskReader:
    """Owns its descriptor."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def read(self, offset: int, length: int) -> bytes:
        try:
            return os.pread(self._descriptor, length, offset)
        except OSError as error:
            raise fault_of(error, "read from the store") from error

    def size(self) -> int:
        try:
            return os.fstat(self._descriptor).st_size
        except OSError as error:
            raise fault_of(error, "read from the store") from error

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class DiskIngest:
    """One file in the ingest folder. Its descriptor lives until the ingest has ended and the last call that uses it has
    returned, so an abort from another thread can never make a late write hit a reused descriptor."""

    def __init__(self, store: "DiskStore", name: str, descriptor: int) -> None:
        self._store = store
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
        with self._in_use() as descriptor, faults("write to the store"):
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
                return self._store.open(self._digest)
            return self._store.open_ingest(self._name)

    def commit(self, digest: Digest, size: int) -> None:
        if self._ended:
            return
        try:
            with self._in_use() as descriptor, faults("commit to the store"):
                self._demand_whole(descriptor, size)
                os.fchmod(descriptor, 0o444)
                os.utime(descriptor, ns=(SEAL, SEAL))
                os.fsync(descriptor)
                with self._naming:
                    self._store.place(self._name, digest)
                    self._digest = digest
        except BaseException:
            self.abort()
            raise
        self._end()

    def abort(self) -> None:
        if self._end():
            self._store.drop_ingest(self._name)

    def _demand_whole(self, descriptor: int, size: int) -> None:
        there = os.fstat(descriptor).st_size
        if there != size or self.missing(size):
            raise StoreFailed(f"{there} bytes with gaps {self.missing(size)[:3]} came in where {size} were announced")

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
                self._close_if_idle()

    def _end(self) -> bool:
        """True the first time."""
        with self._lock:
            if self._ended:
                return False
            self._ended = True
            self._close_if_idle()
            return True

    def _close_if_idle(self) -> None:
        if self._ended and not self._users:
            os.close(self._descriptor)


class DiskStore:
    """The store below ``path``, a folder that only this process uses. Raises NoSpace or StoreFailed."""

    def __init__(self, path: Path) -> None:
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
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Gives the folders back once every ingest has ended; readers live on. Idempotent."""
        self._opened.close()

    def begin(self) -> DiskIngest:
        name = secrets.token_hex(16)
        self._arriving.add(name)  # before the file exists, so that a sweep never takes it for an orphan
        try:
            with faults("begin an ingest"):
                return DiskIngest(self, name, os.open(name, _NEW_FILE, 0o600, dir_fd=self._ingest))
        except BaseException:
            self._arriving.discard(name)
            raise

    def open(self, digest: Digest) -> DiskReader:
        """A file whose seal is broken is read whole first, and is only given out if its bytes are good."""
        try:
            reader = DiskReader(self._shards.open(digest))
            sealed = os.fstat(reader.fileno()).st_mtime_ns == SEAL
        except OSError as error:
            raise fault_of(error, f"open {digest}") from error
        if not sealed:
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
        with faults(f"remove {digest}"):
            self._shards.remove(digest)

    def quarantine(self, digest: Digest) -> None:
        with faults(f"quarantine {digest}"):
            self._shards.quarantine(digest)

    def shards(self) -> Iterator[list[tuple[Digest, int]]]:
        with faults("list the store"):
            yield from self._shards.portions()

    def verify(self, digest: Digest) -> bool:
        try:
            with closing(DiskReader(self._shards.open(digest))) as reader, faults(f"verify {digest}"):
                return _hashes_to(reader.fileno(), digest)
        except OSError as error:
            raise fault_of(error, f"open {digest}") from error

    def sweep(self) -> int:
        with faults("sweep the ingest folder"):
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

    # ------------------------------------------------ for its ingests

    def open_ingest(self, name: str) -> DiskReader:
        with faults("open an ingest"):
            try:
                return DiskReader(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._ingest))
            except FileNotFoundError as error:
                raise ContentMissing("the ingest was aborted") from error

    def place(self, name: str, digest: Digest) -> None:
        """Raises OSError."""
        self._shards.place(name, self._ingest, digest)
        self._arriving.discard(name)

    def drop_ingest(self, name: str) -> None:
        """What cannot be removed now is left to the next sweep."""
        with suppress(OSError):
            os.unlink(name, dir_fd=self._ingest)
        self._arriving.discard(name)


def _hashes_to(descriptor: int, digest: Digest) -> bool:
    with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
        file.seek(0)
        return hashlib.file_digest(file, digest.algorithm).hexdigest() == digest.encoded
