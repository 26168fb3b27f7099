"""The tree ``blobs/<algorithm>/<2 hex>/<hex>``: names of digests to files that hold exactly their bytes.

Invariant: a name is reached through descriptors of real folders, so no symlink is ever followed, and what is opened is
a regular file of ours. Whatever else stands in the way is moved to quarantine. Raises OSError, and what is said.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from proxy.core.errors import ContentMissing, DigestInvalid
from proxy.core.names import Digest
from proxy.storage.quarantine import Quarantine

ALGORITHMS = ("sha256", "sha512")
_EMPTY = frozenset(Digest.of(b"", algorithm) for algorithm in ALGORITHMS)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a planted FIFO must not wait for its writer; on a regular file it does nothing.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# Missing, a symlink or a file for a folder, a symlink, a socket, a device for a file.
_NOT_OURS = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV})


def make_folder(name: str, parent: int) -> int:
    """A descriptor of the folder, made durable first where it is new."""
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
        os.fsync(parent)
    return os.open(name, _FOLDER, dir_fd=parent)


def _regular(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()


def _holds(found: os.stat_result, digest: Digest) -> bool:
    """Can this be the file of the digest? An empty file is what a power cut leaves of a write that nobody synced."""
    return _regular(found) and (found.st_size > 0 or digest in _EMPTY)


class Shards:
    def __init__(self, root: int, quarantine: Quarantine) -> None:
        self._quarantine = quarantine
        self._folders: dict[str, int] = {}
        with ExitStack() as undo:
            blobs = make_folder("blobs", root)
            undo.callback(os.close, blobs)
            with ExitStack() as opened:
                for algorithm in ALGORITHMS:
                    self._folders[algorithm] = make_folder(algorithm, blobs)
                    opened.callback(os.close, self._folders[algorithm])
                self._opened = opened.pop_all()

    def close(self) -> None:
        self._opened.close()

    def open(self, digest: Digest) -> tuple[int, os.stat_result]:
        """A descriptor to read from, and what it is of. Raises ContentMissing."""
        algorithm, _, name = digest.partition(":")
        try:
            shard = os.open(name[:2], _FOLDER, dir_fd=self._folders[algorithm])
            try:
                descriptor = os.open(name, _FILE, dir_fd=shard)
            finally:
                os.close(shard)
        except OSError as error:
            if error.errno in _NOT_OURS:
                raise ContentMissing(f"{digest} is not in the store") from error
            raise
        found = os.fstat(descriptor)
        if not _holds(found, digest):
            os.close(descriptor)
            raise ContentMissing(f"{digest} is not in the store")
        return descriptor, found

    def place(self, name: str, folder: int, digest: Digest) -> None:
        """Renames ``name`` of ``folder`` to the digest's place, durably."""
        with self._shard_for_writing(digest) as shard:
            self._clear(digest, shard)
            os.rename(name, digest.encoded, src_dir_fd=folder, dst_dir_fd=shard)
            try:
                os.fsync(shard)
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
            shard = os.open(prefix, _FOLDER, dir_fd=self._folders[algorithm])
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
                    if _holds(found, digest)
                )
        finally:
            os.close(shard)

    @contextmanager
    def _shard(self, digest: Digest) -> Iterator[int]:
        shard = os.open(digest.encoded[:2], _FOLDER, dir_fd=self._folders[digest.algorithm])
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
        folder = self._folders[digest.algorithm]
        try:
            shard = make_folder(digest.encoded[:2], folder)
        except OSError as error:
            if error.errno not in _NOT_OURS:
                raise
            self._quarantine.take(digest.encoded[:2], folder)
            shard = make_folder(digest.encoded[:2], folder)
        try:
            yield shard
        finally:
            os.close(shard)

    def _clear(self, digest: Digest, shard: int) -> None:
        """A regular file of ours is replaced by the rename itself; anything else is moved out of its way."""
        try:
            found = os.stat(digest.encoded, dir_fd=shard, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not _regular(found):
            self._quarantine.take(digest.encoded, shard)


def _seen(algorithm: str, entry: os.DirEntry[str]) -> Iterator[tuple[Digest, os.stat_result]]:
    """The entry as a digest and what it is; nothing where its name is foreign or it has gone meanwhile."""
    with suppress(DigestInvalid, FileNotFoundError):
        yield Digest.parse(f"{algorithm}:{entry.name}"), entry.stat(follow_symlinks=False)
