"""The tree ``blobs/<algorithm>/<2 hex>/<hex>``: names of digests to files that hold exactly their bytes.

Invariant: a name is reached through descriptors of real folders, so no symlink is ever followed, and what is opened is
a regular file of ours. Whatever else stands in the way is moved to quarantine. Raises OSError, and what is said.

The modification time of a file is its seal: that nobody wrote to it since, and when its bytes were last proven. The
whole second is one that no clock gives today, so whoever writes to the file afterwards breaks the seal, and that shows
at no cost when the file is opened. Its nanoseconds count the moment of the last proof in steps of 4 seconds. A file
system that keeps coarser times tells an earlier moment, and the bytes are then proven sooner than they need be.
"""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass

from proxy.core.errors import ContentMissing, DigestInvalid
from proxy.core.names import Digest
from proxy.storage.faults import fault_of, faults
from proxy.storage.home import ALGORITHMS, FOLDER, Home, is_regular, make_folder, sync_names
from proxy.storage.quarantine import Quarantine

_EMPTY = frozenset(Digest.of(b"", algorithm) for algorithm in ALGORITHMS)
# O_NONBLOCK: opening a planted FIFO must not wait for its writer; on a regular file it does nothing.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# Missing, a symlink or a file for a folder, a symlink, a socket, a device for a file.
_NOT_OURS = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV})
_IN_THE_WAY = _NOT_OURS - {errno.ENOENT}
_SECOND = 1_000_000_000
_NANOSECONDS = 1_000_000_000
_STEP = 4.0  # seconds; good until the year 2096


@dataclass(slots=True, eq=False)
class DiskReader:
    """Owns its descriptor. ``size`` is what was there when it was opened."""

    _descriptor: int
    size: int
    proven_at: float = 0.0

    def fileno(self) -> int:
        return self._descriptor

    def read(self, offset: int, length: int) -> bytes:
        try:
            return os.pread(self._descriptor, length, offset)
        except OSError as error:
            raise fault_of(error, "read from the store") from error

    def close(self) -> None:
        """Gives the descriptor back."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Shards:
    """``now`` gives seconds since the epoch, for the moment of a proof."""

    def __init__(self, home: Home, quarantine: Quarantine, now: Callable[[], float]) -> None:
        self._home = home
        self._quarantine = quarantine
        self._now = now

    def open(self, digest: Digest) -> DiskReader:
        """A file whose seal is broken is read whole first, and is only given out if its bytes are good. Raises
        ContentMissing, NoSpace or StoreFailed."""
        try:
            descriptor, found = self.file(digest)
        except OSError as error:
            raise fault_of(error, f"open {digest}") from error
        second, steps = divmod(found.st_mtime_ns, _NANOSECONDS)
        if second == _SECOND:
            return DiskReader(descriptor, found.st_size, steps * _STEP)
        return self._sealed_again(DiskReader(descriptor, found.st_size, self._now()), digest)

    def _sealed_again(self, reader: DiskReader, digest: Digest) -> DiskReader:
        try:
            with faults(f"verify {digest}"):
                good = _hashes_to(reader, digest)
        except BaseException:
            reader.close()
            raise
        if not good:
            reader.close()
            with faults(f"quarantine {digest}"):
                self.quarantine(digest)
            raise ContentMissing(f"the file of {digest} was changed and is in quarantine")
        _seal_if_possible(reader, reader.proven_at)
        return reader

    def verify(self, digest: Digest) -> bool:
        """As ``BlobStore.verify``, without a look at the seal."""
        descriptor, found = self.file(digest)
        with closing(DiskReader(descriptor, found.st_size)) as reader:
            return _hashes_to(reader, digest)

    def mark_proven(self, digest: Digest, at: float) -> None:
        """As ``BlobStore.mark_proven``."""
        descriptor, found = self.file(digest)
        with closing(DiskReader(descriptor, found.st_size)) as reader:
            _seal_if_possible(reader, at)

    def file(self, digest: Digest) -> tuple[int, os.stat_result]:
        """A descriptor to read from, and what it is of, sealed or not. Raises ContentMissing."""
        algorithm, _, name = digest.partition(":")
        try:
            shard = os.open(name[:2], FOLDER, dir_fd=self._home.algorithm(algorithm))
            try:
                descriptor = os.open(name, _FILE, dir_fd=shard)
            finally:
                os.close(shard)
        except OSError as error:
            if error.errno in _NOT_OURS:
                raise ContentMissing(f"{digest} is not in the store") from error
            raise
        found = os.fstat(descriptor)
        if not self._holds(found, digest):
            os.close(descriptor)
            raise ContentMissing(f"{digest} is not in the store")
        return descriptor, found

    def place(self, name: str, folder: int, digest: Digest) -> None:
        """Renames ``name`` of ``folder`` to the digest's place, durably."""
        with self._shard_for_writing(digest) as shard:
            self._clear(digest, shard)
            os.rename(name, digest.encoded, src_dir_fd=folder, dst_dir_fd=shard)
            try:
                sync_names(shard)
            except OSError:
                with suppress(OSError):
                    os.unlink(digest.encoded, dir_fd=shard)
                raise

    def remove(self, digest: Digest) -> None:
        with self._existing_shard(digest) as shard:
            if shard is None:
                return
            try:
                os.unlink(digest.encoded, dir_fd=shard)
            except FileNotFoundError:
                return
            except IsADirectoryError:
                self._quarantine.take(digest.encoded, shard)

    def quarantine(self, digest: Digest) -> None:
        with self._existing_shard(digest) as shard:
            if shard is not None:
                self._quarantine.take(digest.encoded, shard)

    def portions(self) -> Iterator[list[tuple[Digest, int]]]:
        """256 for each algorithm, in order, as ``BlobStore.shards`` says."""
        for algorithm in ALGORITHMS:
            for number in range(256):
                yield self._portion(algorithm, f"{number:02x}")

    def _portion(self, algorithm: str, prefix: str) -> list[tuple[Digest, int]]:
        try:
            shard = os.open(prefix, FOLDER, dir_fd=self._home.algorithm(algorithm))
        except OSError as error:
            if error.errno in _NOT_OURS:
                return []
            raise
        try:
            with os.scandir(shard) as entries:
                return sorted(
                    (digest, found.st_size)
                    for entry in entries
                    if entry.name.startswith(prefix)
                    for digest, found in _seen(algorithm, entry)
                    if self._holds(found, digest)
                )
        finally:
            os.close(shard)

    @contextmanager
    def _shard(self, digest: Digest) -> Iterator[int]:
        shard = os.open(digest.encoded[:2], FOLDER, dir_fd=self._home.algorithm(digest.algorithm))
        try:
            yield shard
        finally:
            os.close(shard)

    @contextmanager
    def _existing_shard(self, digest: Digest) -> Iterator[int | None]:
        with ExitStack() as stack:
            try:
                shard = stack.enter_context(self._shard(digest))
            except OSError as error:
                if error.errno not in _NOT_OURS:
                    raise
                shard = None
            yield shard

    @contextmanager
    def _shard_for_writing(self, digest: Digest) -> Iterator[int]:
        folder = self._home.algorithm(digest.algorithm)
        try:
            shard = make_folder(digest.encoded[:2], folder)
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                raise
            self._quarantine.take(digest.encoded[:2], folder)
            shard = make_folder(digest.encoded[:2], folder)
        try:
            yield shard
        finally:
            os.close(shard)

    def _holds(self, found: os.stat_result, digest: Digest) -> bool:
        """Can this be the file of the digest? An empty file is what a power cut leaves of a write that nobody
        synced."""
        return is_regular(found, self._home.owners) and (found.st_size > 0 or digest in _EMPTY)

    def _clear(self, digest: Digest, shard: int) -> None:
        """A regular file of ours is replaced by the rename itself; anything else is moved out of its way."""
        try:
            found = os.stat(digest.encoded, dir_fd=shard, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not is_regular(found, self._home.owners):
            self._quarantine.take(digest.encoded, shard)


def _seen(algorithm: str, entry: os.DirEntry[str]) -> Iterator[tuple[Digest, os.stat_result]]:
    """The entry as a digest and what it is; nothing where its name is foreign or it has gone meanwhile."""
    with suppress(DigestInvalid, FileNotFoundError):
        yield Digest.parse(f"{algorithm}:{entry.name}"), entry.stat(follow_symlinks=False)


def seal(file: int, proven_at: float) -> None:
    """Seals the open file, whose bytes were proven then, in seconds since the epoch. Raises OSError."""
    steps = min(max(int(proven_at / _STEP), 0), _NANOSECONDS - 1)
    modified = _SECOND * _NANOSECONDS + steps
    os.utime(file, ns=(modified, modified))


def _seal_if_possible(reader: DiskReader, at: float) -> None:
    """A disk that takes no times has the bytes proven again sooner; no more comes of it."""
    with suppress(OSError):
        seal(reader.fileno(), at)


def _hashes_to(reader: DiskReader, digest: Digest) -> bool:
    with os.fdopen(reader.fileno(), "rb", buffering=0, closefd=False) as file:
        file.seek(0)
        return hashlib.file_digest(file, digest.algorithm).hexdigest() == digest.encoded
