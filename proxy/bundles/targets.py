"""Where a bundle is written: a folder, or an archive of one or several volumes. Both keep what an export that ended
early has written, and nothing has its final name before it is whole and on the disk.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from proxy.bundles.entries import ALGORITHMS, LAYOUT, Readable, blob_name
from proxy.bundles.refusal import BundleRefused
from proxy.core.names import Digest, Hasher

STEP = 1 << 20
"""Bytes that are moved at a time."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


class BundleTarget(Protocol):
    """What a bundle is written to."""

    def has(self, digest: Digest) -> bool:
        """Whether it was written before, and whole."""

    def write(self, digest: Digest, size: int, body: Readable) -> None:
        """Content, verified while it is written. Raises BundleRefused where the bytes are others, OSError."""

    def finish(self, documents: Mapping[str, bytes]) -> list[Path]:
        """What it has come to. Raises OSError."""

    def close(self) -> None:
        """Finished or not; idempotent."""


class SyncedBehind:
    """Has the disk keep what was written while what comes next is being written: one thing at a time, in a thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "bundle-sync")
        self._coming: Future[None] | None = None

    def then(self, work: Callable[[], None]) -> None:
        """``work`` syncs. Raises what the one before raised."""
        self.over()
        self._coming = self._pool.submit(work)

    def over(self) -> None:
        """Until nothing is under way. Raises what it raised."""
        coming, self._coming = self._coming, None
        if coming is not None:
            coming.result()

    def close(self) -> None:
        """What is under way is waited for, however it ends; idempotent."""
        self._pool.shutdown()


class FolderTarget:
    """An image layout as a folder. What it held before stays, and counts."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError, and BundleRefused for a folder that is no image layout and not empty."""
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not (folder / LAYOUT).exists() and not (folder / "blobs").is_dir():
            raise BundleRefused(f"{folder} is neither empty nor an image layout")
        self._folder = folder
        self._behind = SyncedBehind()
        self._alone = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            lock(self._alone, folder)
            for algorithm in ALGORITHMS:
                place = folder / "blobs" / algorithm
                place.mkdir(parents=True, exist_ok=True)
                if any(each.is_symlink() for each in (place, place.parent)):
                    raise BundleRefused(f"{place} is a link")
        except BaseException:
            self.close()
            raise

    def has(self, digest: Digest) -> bool:
        """As ``BundleTarget.has``: a name is given only to what is whole and synced."""
        place = self._place(digest)
        return place.is_file() and not place.is_symlink()

    def write(self, digest: Digest, size: int, body: Readable) -> None:
        """As ``BundleTarget.write``."""
        arriving = _Arriving(self._place(digest))
        with arriving.given_up():
            for piece in proven(digest, size, body):
                arriving.write(piece)
        self._behind.then(arriving.keep)

    def finish(self, documents: Mapping[str, bytes]) -> list[Path]:
        """As ``BundleTarget.finish``; the index comes last but for the list, which names nothing that is not there."""
        for name, content in documents.items():
            arriving = _Arriving(self._folder / name)
            with arriving.given_up():
                arriving.write(content)
            self._behind.then(arriving.keep)
        self._behind.over()
        return [self._folder]

    def close(self) -> None:
        """Others may write to the folder again."""
        self._behind.close()
        if self._alone >= 0:
            os.close(self._alone)
            self._alone = -1

    def _place(self, digest: Digest) -> Path:
        return self._folder / blob_name(digest)


class _Arriving:
    """A file that has its name once it is on the disk."""

    def __init__(self, place: Path) -> None:
        """Raises OSError."""
        self._place = place
        self._path = place.with_name(f".{place.name}.part")
        self._descriptor = os.open(self._path, _NEW, 0o644)

    def write(self, content: bytes) -> None:
        """Behind what it has. Raises OSError."""
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def keep(self) -> None:
        """Raises OSError."""
        with self.given_up():
            os.fsync(self._descriptor)
        os.close(self._descriptor)
        self._path.replace(self._place)
        sync_folder(self._place.parent)

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """It is no more where anything is raised."""
        try:
            yield
        except BaseException:
            os.close(self._descriptor)
            with suppress(OSError):
                self._path.unlink()
            raise


def proven(digest: Digest, size: int, body: Readable) -> Iterator[bytes]:
    """The bytes; raises BundleRefused at their end where they are not those of the digest, or not so many."""
    hasher = Hasher(digest)
    while piece := body.read(STEP):
        hasher.update(piece)
        if hasher.count > size:
            break
        yield piece
    if hasher.count != size or not hasher.agrees():
        raise BundleRefused(f"the bytes that came are not those of {digest}")


def lock(descriptor: int, path: Path) -> None:
    """Until it is closed. Raises BundleRefused where another export writes there: two would each take the other's half
    for its own."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BundleRefused(f"{path} is being written by another export") from None


def sync_folder(folder: Path) -> None:
    """Makes names in it durable, where its file system has to be told."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
