"""How a file looks from outside, so that it is read again only when it may hold something else. Pure."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

_TICK = 2.0
"""Seconds. The times of a file are those of its file system's clock, which stands still for some milliseconds, on some
for two seconds: a second write within one tick shows nowhere."""


class Stat(Protocol):
    """As ``os.stat`` and ``os.fstat`` give it."""

    @property
    def st_dev(self) -> int: ...
    @property
    def st_ino(self) -> int: ...
    @property
    def st_mtime_ns(self) -> int: ...
    @property
    def st_ctime_ns(self) -> int: ...
    @property
    def st_size(self) -> int: ...


class FileVersion(NamedTuple):
    """Differs when a file was written or replaced; Kubernetes replaces what a link points to. The time of the last
    change is there for a copy that brings its original's time of writing along."""

    device: int
    inode: int
    modified: int  # nanoseconds since the epoch
    changed: int
    size: int

    @classmethod
    def of(cls, found: Stat) -> "FileVersion":
        return cls(found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)

    def is_settled(self, now: float) -> bool:
        """Whether another write would show; ``now`` in seconds since the epoch."""
        return max(self.modified, self.changed) < (now - _TICK) * 1e9


class Look(NamedTuple):
    """At some files: by the name of each its version, or the number of the error."""

    versions: Sequence[tuple[str, FileVersion | int]]
    settled: bool

    @classmethod
    def of(cls, versions: Sequence[tuple[str, FileVersion | int]], now: float) -> "Look":
        return cls(versions, all(isinstance(each, int) or each.is_settled(now) for _, each in versions))

    def shows_what(self, before: "Look | None") -> bool:
        """Whether the files hold what they held when they were read after the look ``before``."""
        return before is not None and before.settled and before.versions == self.versions
