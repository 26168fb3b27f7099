"""A bundle as an archive: one tar, or several volumes that are each read by themselves.

Each member is a whole frame where the archive is compressed, and a journal beside it says up to where it is good, so
what an export that was killed has written is carried on from there. Each volume ends with all the documents.
"""

import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import zstandard

from proxy.bundles.entries import Readable, blob_name
from proxy.bundles.refusal import BundleRefused
from proxy.bundles.tar import BLOCK
from proxy.bundles.targets import SyncedBehind, lock, proven, sync_folder
from proxy.core.foreign_json import SMALL, JsonRefused, parse_json_object
from proxy.core.names import Digest

_LEVEL = 1  # layers are compressed already
_ENDINGS = (".tar.zst", ".tar")
_JOURNAL = ".journal"


def is_archive(path: Path) -> bool:
    """By its name."""
    return path.name.endswith(_ENDINGS)


class _Done(NamedTuple):
    """Content that is in a volume, which is good up to ``end``."""

    digest: Digest
    volume: int
    end: int


class ArchiveTarget:
    """``split`` bounds the bytes of a volume; None means one."""

    def __init__(self, path: Path, split: int | None, documents: int) -> None:
        """``documents`` are the bytes that these will take, at most. Raises BundleRefused, OSError."""
        self._path = path
        self._split = split
        self._documents = documents
        self._journal = path.with_name(path.name + _JOURNAL)
        self._log = self._journal.open("a")
        self._behind = SyncedBehind()
        try:
            lock(self._log.fileno(), path)
            self._done = {done.digest: done for done in _remembered(self._journal)}
            self._number = max((done.volume for done in self._done.values()), default=1)
            self._volume = self._opened(self._number)
        except BaseException:
            self._log.close()
            raise

    def has(self, digest: Digest) -> bool:
        """As ``BundleTarget.has``."""
        return digest in self._done

    def write(self, digest: Digest, size: int, body: Readable) -> None:
        """As ``BundleTarget.write``; a volume that has no room for it is ended first."""
        if self._split is not None:
            needed = volume_for(size, self._documents)
            if needed > self._split:
                raise BundleRefused(f"{digest} has {size} bytes: volumes must have {needed} at least")
            if self._volume.position + needed > self._split:
                self._behind.over()
                self._volume.close()
                self._number += 1
                self._volume = self._opened(self._number)
        before = self._volume.position
        try:
            self._volume.add(blob_name(digest), size, proven(digest, size, body))
            self._volume.flush()
        except BaseException:
            self._volume.cut(before)
            raise
        self._behind.then(partial(self._keep, self._volume, _Done(digest, self._number, self._volume.position)))

    def finish(self, documents: Mapping[str, bytes]) -> list[Path]:
        """As ``BundleTarget.finish``."""
        self._behind.over()
        self._volume.close()
        numbers = range(1, self._number + 1)
        for number in numbers:
            volume = self._opened(number)
            for name, content in documents.items():
                volume.add(name, len(content), iter([content]))
            volume.end()
            volume.close()
        for number in numbers:
            self._arriving(number).replace(self._final(number))
        sync_folder(self._path.parent)
        self.close()
        self._journal.unlink()
        return [self._final(number) for number in numbers]

    def close(self) -> None:
        """As ``BundleTarget.close``."""
        self._behind.close()
        self._volume.close()
        self._log.close()

    def _keep(self, volume: "_Volume", done: _Done) -> None:
        """It counts once it is on the disk."""
        volume.sync()
        self._log.write(json.dumps(done._asdict()) + "\n")
        self._log.flush()
        self._done[done.digest] = done

    def _opened(self, number: int) -> "_Volume":
        """Cut to where it is good; one that had its final name already when the last export ended too."""
        good = max((done.end for done in self._done.values() if done.volume == number), default=0)
        arriving, final = self._arriving(number), self._final(number)
        if good and not arriving.exists() and final.exists():
            final.replace(arriving)
        return _Volume(arriving, good, self._path.name.endswith(".zst"))

    def _arriving(self, number: int) -> Path:
        return self._path.with_name(f"{self._final(number).name}.part")

    def _final(self, number: int) -> Path:
        if self._split is None:
            return self._path
        ending = next(each for each in _ENDINGS if self._path.name.endswith(each))
        return self._path.with_name(f"{self._path.name.removesuffix(ending)}.{number:03}{ending}")


class _Packer(Protocol):
    """One frame."""

    def compress(self, piece: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Plain:
    def compress(self, piece: bytes, /) -> bytes:
        return piece

    def flush(self) -> bytes:
        return b""


class _Volume:
    def __init__(self, path: Path, good: int, packed: bool) -> None:
        self._file: BinaryIO = os.fdopen(
            os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644), "r+b"
        )
        if os.fstat(self._file.fileno()).st_size < good:
            self._file.close()
            raise BundleRefused(f"{path} is shorter than its journal says: remove both to begin anew")
        self._packed = packed
        self.cut(good)

    @property
    def position(self) -> int:
        """Bytes until now."""
        return self._file.tell()

    def cut(self, good: int) -> None:
        """What is behind that byte is gone."""
        self._file.seek(good)
        self._file.truncate()

    def add(self, name: str, size: int, pieces: Iterator[bytes]) -> None:
        """A member of the archive."""
        head = tarfile.TarInfo(name)
        head.size, head.mode = size, 0o644
        packer: _Packer = zstandard.ZstdCompressor(_LEVEL).compressobj() if self._packed else _Plain()
        self._file.write(packer.compress(head.tobuf(tarfile.PAX_FORMAT)))
        for piece in pieces:
            self._file.write(packer.compress(piece))
        self._file.write(packer.compress(bytes(-size % BLOCK)))
        self._file.write(packer.flush())

    def end(self) -> None:
        """Two empty blocks (POSIX.1-2017 pax, "ustar Interchange Format")."""
        empty = bytes(2 * BLOCK)
        self._file.write(zstandard.ZstdCompressor(_LEVEL).compress(empty) if self._packed else empty)
        self.flush()
        self.sync()

    def flush(self) -> None:
        """What was added is in the file."""
        self._file.flush()

    def sync(self) -> None:
        """What is in the file is on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def volume_for(size: int, documents: int) -> int:
    """Bytes that a volume must have for content of that size. One content is never in two volumes: each of them is
    proven and taken in by itself, whichever comes first."""
    return _packed(size) + documents


def _packed(size: int) -> int:
    """Bytes that a member takes at most, packed or not (zstd.h, ``ZSTD_COMPRESSBOUND``)."""
    whole = size + 4 * BLOCK
    return whole + (whole >> 8) + BLOCK


def _remembered(journal: Path) -> Iterator[_Done]:
    """Up to the line that a kill has torn."""
    if not journal.exists():
        return
    for line in journal.read_bytes().splitlines():
        try:
            found = parse_json_object(line, SMALL)
            yield _Done(Digest.parse(found["digest"]), int(found["volume"]), int(found["end"]))
        except (JsonRefused, KeyError, TypeError, ValueError):
            return
