"""Faults of the disk, in the C library's calls of a process under test: SQLite's and Python's alike.

``faults.c`` is compiled with gcc and loaded into the process with LD_PRELOAD. It is armed and disarmed while the
process runs, costs nothing that could be measured, and counts over all threads; ``strace -e inject`` does none of that.
"""

import errno
import mmap
import os
import re
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import NamedTuple, Self

_SOURCE = Path(__file__).with_name("faults.c")
_CALLS, _ERROR, _FIRST, _TIMES, _SEEN, _FIRED, _WRITTEN, _LOADED, _ERA, _DELAY = range(0, 80, 8)
_HEAD = 80
_LINE = struct.Struct("II120s")
_LINES = 131072  # as in faults.c; SQLite locks its file at each look

FOR_GOOD = 1 << 40
"""So often that it never ends."""


class Call(Enum):
    """A kind of system call. The order is that of ``faults.c``."""

    WRITE = "write"  # pwrite, writev and sendfile too
    FSYNC = "fsync"  # fdatasync too
    RENAME = "rename"
    CREATE = "create"  # open with O_CREAT of what is not there
    MKDIR = "mkdir"
    TRUNCATE = "ftruncate"
    UNLINK = "unlink"  # rmdir too
    OPEN = "open"  # for writing, of what is there
    LOCK = "lock"  # flock, and fcntl's
    MAP = "mmap"  # shared
    CHMOD = "fchmod"
    TIMES = "futimens"


_ORDER = list(Call)


class Seen(NamedTuple):
    """One call below the folder."""

    call: Call
    place: str  # what the path stands for: "ingest/*", "catalog-wal"
    failed: bool

    def __str__(self) -> str:
        return f"{self.call.value} {self.place}"


_PLACES = (
    (re.compile(r"/ingest/[0-9a-f]{32}"), "ingest/*"),
    (re.compile(r"/blobs/(\w+)/[0-9a-f]{2}/[0-9a-f]{64,}"), "a blob"),
    (re.compile(r"/blobs/(\w+)/[0-9a-f]{2}"), "a shard"),
    (re.compile(r"/quarantine/.+"), "quarantine/*"),
)


def place_of(path: str) -> str:
    """What a path below the cache folder stands for."""
    known = path.removesuffix(" (deleted)")
    for pattern, place in _PLACES:
        if pattern.fullmatch(known):
            return place
    return known.removeprefix("/") or "the folder"


def compiled(folder: Path) -> Path:
    """The library, made in ``folder``."""
    library = folder / "faults.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE), "-ldl"], check=True)
    return library


class Injector:
    """The faults of one cache folder, over all the processes that use it in turn."""

    def __init__(self, library: Path, control: Path, folder: Path) -> None:
        size = _HEAD + _LINES * _LINE.size
        with control.open("wb") as file:
            file.truncate(size)
        with control.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), size)
        self._environment = {
            "LD_PRELOAD": str(library),
            "DISK_CONTROL": str(control),
            "DISK_FOLDER": str(folder.absolute()),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._memory.close()

    @contextmanager
    def preloaded(self) -> Iterator[None]:
        """Processes that are started meanwhile have it."""
        before = {name: os.environ.get(name) for name in self._environment}
        os.environ.update(self._environment)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})

    def arm(self, calls: Sequence[Call], error: str, first: int = 1, times: int = FOR_GOOD) -> None:
        """From the ``first`` of these calls on so many fail with ``error``, by its name."""
        self._arm(calls, getattr(errno, error), first, times, 0.0)

    def slow(self, calls: Sequence[Call], seconds: float) -> None:
        """Each of these calls takes so long."""
        self._arm(calls, 0, 1, FOR_GOOD, seconds)

    def age(self) -> None:
        """What is open is stale from here on: whatever is asked of it fails with ESTALE, until it is opened again."""
        self._put(_FIRED, 0)
        self._put(_ERA, self._get(_ERA) + 1)

    def _arm(self, calls: Sequence[Call], error: int, first: int, times: int, delay: float) -> None:
        self.disarm()
        values = {_ERROR: error, _FIRST: first, _TIMES: times, _DELAY: round(delay * 1000), _SEEN: 0, _FIRED: 0}
        for at, value in values.items():
            self._put(at, value)
        self._put(_CALLS, sum(1 << _ORDER.index(call) for call in calls))

    def disarm(self) -> None:
        self._put(_CALLS, 0)

    @property
    def fired(self) -> int:
        """Calls that failed, or were slow, since it was armed."""
        return self._get(_FIRED)

    @property
    def loaded(self) -> int:
        """Processes that had it."""
        return self._get(_LOADED)

    @property
    def written(self) -> int:
        """Lines of the journal so far: a mark for ``seen``."""
        return self._get(_WRITTEN)

    def seen(self, mark: int = 0) -> list[Seen]:
        """The calls since ``mark``."""
        end = self.written
        assert end - mark <= _LINES, "the journal is too short for what was asked of it"
        return [self._line(number % _LINES) for number in range(mark, end)]

    def _line(self, number: int) -> Seen:
        call, failed, path = _LINE.unpack_from(self._memory, _HEAD + number * _LINE.size)
        return Seen(_ORDER[call], place_of(path.partition(b"\0")[0].decode()), bool(failed))

    def _get(self, at: int) -> int:
        value: int = struct.unpack_from("Q", self._memory, at)[0]
        return value

    def _put(self, at: int, value: int) -> None:
        struct.pack_into("Q", self._memory, at, value)
