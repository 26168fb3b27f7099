"""Bytes of one blob on their way to the disk.

Commit order: all bytes written, size checked, made read-only and sealed, file synced, renamed, folder synced. So a name
under ``blobs/`` always stands for whole, durable bytes. A failed sync is final: nothing says which pages it lost, so
the ingest is thrown away and never synced again.
"""

import errno
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from proxy.core.errors import ContentMissing, StoreFailed
from proxy.core.names import Digest
from proxy.core.spans import Spans
from proxy.storage.faults import faults, reported
from proxy.storage.health import StorageHealth
from proxy.storage.home import GONE, NEW_FILE, Home
from proxy.storage.shards import DiskReader, Shards, seal

_ARRIVING = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_OFFERED = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)  # by a volume that keeps neither rights nor times


class Ingests(NamedTuple):
    """Begins them; what they share with the store."""

    shards: Shards
    home: Home
    arriving: set[str]  # names in its ingest folder that are somebody's
    health: StorageHealth
    now: Callable[[], float]  # seconds since the epoch

    def begin(self) -> "DiskIngest":
        """As ``BlobStore.begin``."""
        name = secrets.token_hex(16)
        self.arriving.add(name)  # before the file exists, so that a sweep never takes it for an orphan
        try:
            with reported(self.health, "store", "begin an ingest"):
                try:
                    return self._new(name)
                except OSError as error:
                    if error.errno not in GONE or not self.home.renew():
                        raise
                return self._new(name)
        except BaseException:
            self.arriving.discard(name)
            raise

    def _new(self, name: str) -> "DiskIngest":
        folder = self.home.ingest
        return DiskIngest(self, name, folder, os.open(name, NEW_FILE, 0o600, dir_fd=folder))


class DiskIngest:
    """One file in the ingest folder. Its descriptor lives until the ingest has ended and the last call that uses it has
    returned, so an abort from another thread can never make a late write hit a reused descriptor."""

    def __init__(self, ingests: Ingests, name: str, folder: int, descriptor: int) -> None:
        """``folder`` is the open one that the file was made in."""
        self._ingests = ingests
        self._folder = folder
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

    def open(self) -> DiskReader:
        """After ``commit`` a reader of what was committed; raises ContentMissing after ``abort``."""
        with self._naming:
            if self._digest is not None:
                with faults("open an ingest"):
                    descriptor, found = self._ingests.shards.file(self._digest)
                return DiskReader(descriptor, found.st_size)
            with faults("open an ingest"):
                try:
                    descriptor = os.open(self._name, _ARRIVING, dir_fd=self._folder)
                except FileNotFoundError as error:
                    raise ContentMissing("the ingest was aborted") from error
                try:
                    return DiskReader(descriptor, os.fstat(descriptor).st_size)
                except BaseException:
                    os.close(descriptor)
                    raise

    def commit(self, digest: Digest, size: int) -> None:
        if self._ended:
            return
        try:
            with self._in_use() as descriptor, reported(self._ingests.health, "store", "commit to the store"):
                with self._lock:
                    gaps = self._spans.missing(size)
                there = os.fstat(descriptor).st_size
                if there != size or gaps:
                    raise StoreFailed(f"{there} bytes with gaps {gaps[:3]} came in where {size} were announced")
                with _where_offered():
                    os.fchmod(descriptor, 0o444)
                with _where_offered():  # without its seal it is proven again whenever it is opened
                    seal(descriptor, self._ingests.now())
                os.fsync(descriptor)
                with self._naming:
                    self._place(digest)
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
                os.unlink(self._name, dir_fd=self._folder)
            self._ingests.arriving.discard(self._name)

    def _place(self, digest: Digest) -> None:
        try:
            self._ingests.shards.place(self._name, self._folder, digest)
        except OSError as error:  # the folders under the running process are gone, perhaps with this file
            if error.errno not in GONE or not self._ingests.home.renew():
                raise
            self._ingests.shards.place(self._name, self._folder, digest)

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


@contextmanager
def _where_offered() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
