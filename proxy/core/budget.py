"""The byte budget: reserve before you receive.

Invariant: committed + reserved never exceeds the hard limit by a grant of this budget. The soft limit is where eviction
begins; a share below it is where eviction ends, so that it does not begin again with the next blob.
"""

from dataclasses import dataclass

_HARD_SHARE = 1.05
_EVICTED_SHARE = 0.90
_BLOB_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Limits:
    """All in bytes."""

    soft: int

    @property
    def hard(self) -> int:
        return int(self.soft * _HARD_SHARE)

    @property
    def after_eviction(self) -> int:
        return int(self.soft * _EVICTED_SHARE)

    @property
    def blob(self) -> int:
        """A blob above this share would drive out everything else: it passes through uncached."""
        return int(self.soft * _BLOB_SHARE)


class Budget:
    """Counts bytes; names no victims and removes nothing."""

    def __init__(self, limits: Limits, committed: int = 0) -> None:
        self.limits = limits
        self.committed = committed
        self.reserved = 0

    @property
    def used(self) -> int:
        return self.committed + self.reserved

    def admits(self, size: int) -> bool:
        """Could a blob of this size ever be cached?"""
        return size <= self.limits.blob

    def reserve(self, size: int) -> bool:
        """True when granted."""
        if self.used + size > self.limits.hard:
            return False
        self.reserved += size
        return True

    def release(self, size: int) -> None:
        self.reserved -= size

    def commit(self, reserved: int, size: int, replaced: int = 0) -> None:
        """A reservation becomes ``size`` committed bytes, in place of ``replaced`` that were counted before."""
        self.reserved -= reserved
        self.committed += size - replaced

    def forget(self, size: int) -> None:
        """Committed bytes are gone from the store."""
        self.committed -= size

    def excess(self, wanted: int = 0) -> int:
        """Bytes to evict now, so that ``wanted`` more fit; 0 below the soft limit."""
        if self.used + wanted <= self.limits.soft:
            return 0
        return self.used + wanted - self.limits.after_eviction
