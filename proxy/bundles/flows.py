"""The bytes of a bundle's file, as it is or unpacked from gzip (RFC 1952) or zstd (RFC 8878).

What is unpacked is bounded by what was read for it: layers are compressed already, so an honest bundle unpacks to a
few times its size, and a bomb to a thousand times.
"""

import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import zstandard

from proxy.bundles.refusal import BundleRefused
from proxy.bundles.tar import Flow

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_WINDOW = 128 << 20  # bytes of memory that a zstd frame may ask for: what `zstd --long` needs
_FREE = 256 << 20  # bytes that may be unpacked from whatever
_RATIO = 200  # beyond that, so many for each byte that was read
_STEP = 1 << 20


class _Unpacked(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class PlainFlow:
    """A file that can be sought in."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size

    def read(self, count: int) -> bytes:
        """As ``Flow.read``."""
        try:
            return self._file.read(count)
        except OSError as cause:
            raise BundleRefused(f"it cannot be read: {cause.strerror}") from cause

    def skip(self, count: int) -> None:
        """As ``Flow.skip``."""
        position = self._file.tell() + count
        if position > self._size:
            raise BundleRefused("the archive is cut")
        self._file.seek(position)


class UnpackedFlow:
    """``file`` is the packed one that ``unpacked`` reads."""

    def __init__(self, unpacked: _Unpacked, file: BinaryIO) -> None:
        self._unpacked = unpacked
        self._file = file
        self._count = 0

    def read(self, count: int) -> bytes:
        """As ``Flow.read``."""
        try:
            found = self._unpacked.read(min(count, _STEP))
        except (OSError, EOFError, zlib.error, zstandard.ZstdError) as cause:
            raise BundleRefused(f"it cannot be unpacked: {cause}") from cause
        self._count += len(found)
        if self._count > _FREE + _RATIO * self._file.tell():
            raise BundleRefused(f"it unpacks to more than {_RATIO} times its size")
        return found

    def skip(self, count: int) -> None:
        """As ``Flow.skip``."""
        while count:
            found = self.read(count)
            if not found:
                raise BundleRefused("the archive is cut")
            count -= len(found)


@contextmanager
def flowing(path: Path) -> Iterator[Flow]:
    """The file from its beginning. Raises BundleRefused for what is no file, and OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=_STEP) as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise BundleRefused("it is neither a folder nor a file")
        if is_hollow(found):
            raise BundleRefused("it consists of holes")
        magic = file.read(4)
        file.seek(0)
        if magic.startswith(GZIP):
            yield UnpackedFlow(gzip.GzipFile(fileobj=file), file)
        elif magic == ZSTD:
            decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
            yield UnpackedFlow(decompressor.stream_reader(file, read_across_frames=True), file)
        else:
            yield PlainFlow(file, found.st_size)


def is_hollow(found: os.stat_result) -> bool:
    """Whether a file has so few bytes on its disk that reading it is unpacking a bomb."""
    return found.st_size > _FREE + _RATIO * 512 * found.st_blocks
