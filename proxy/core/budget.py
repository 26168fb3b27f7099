"""The byte budget: reserve before you receive.

Invariant: committed + reserved + what lies beside never exceeds the hard limit by a grant of this budget. The soft
limit is where eviction begins; a share below it is where eviction ends, so that it does not begin again with the next
blob.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

_HARD_SHARE = 1.05
_EVICTED_SHARE = 0.90
_BLOB_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class ByteLimits:
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

    def excess(self, used: int) -> int:
        """Bytes to evict when so many are used; 0 below the soft limit."""
        return used - self.after_eviction if used > self.soft else 0


class Budget:
    """Counts bytes; names no victims and removes nothing. ``committed_by`` and ``reserved_by`` have those of each
    upstream."""

    def __init__(self, limits: ByteLimits, committed: Mapping[str, int] | None = None) -> None:
        self.limits = limits
        self.committed = 0
        self.committed_by: Counter[str] = Counter()
        self.reserved = 0
        self.reserved_by: Counter[str] = Counter()
        self.beside: Mapping[str, int] = {}  # bytes in the home that nobody reserved, by what they are
        self.recount(committed or {})

    @property
    def used(self) -> int:
        return self.committed + self.reserved + sum(self.beside.values())

    def used_by(self, upstream: str) -> int:
        """Bytes that count to the upstream: what is held, and what is set aside for what arrives."""
        return self.committed_by[upstream] + self.reserved_by[upstream]

    def reserve(self, size: int, upstream: str = "") -> "Reservation | None":
        """None when there is no room below the hard limit."""
        reservation = Reservation(self, upstream)
        return reservation if reservation.extend(size) else None

    def recount(self, committed: Mapping[str, int]) -> None:
        """These are the bytes that are committed, by upstream, whatever was counted before."""
        self.committed_by = Counter(committed)
        self.committed = self.committed_by.total()

    def forget(self, size: int, upstream: str = "") -> None:
        """Committed bytes of the upstream are gone from the store."""
        self.committed -= size
        self.committed_by[upstream] -= size
        if not self.committed_by[upstream]:
            del self.committed_by[upstream]

    def adopt(self, size: int, upstream: str = "") -> None:
        """Bytes that nobody reserved are found in the store."""
        self.committed += size
        self.committed_by[upstream] += size

    def excess(self, wanted: int = 0) -> int:
        """Bytes to evict now, so that ``wanted`` more fit; 0 below the soft limit."""
        return self.limits.excess(self.used + wanted)


@dataclass(slots=True, eq=False)
class Reservation:
    """Bytes set aside for one ingest, counted to its upstream. Ends once, by ``commit`` or ``release``; a second end
    does nothing."""

    _budget: Budget
    upstream: str
    _size: int = 0

    def extend(self, size: int) -> bool:
        """True when so many more are set aside."""
        if self._budget.used + size > self._budget.limits.hard:
            return False
        self._set(self._size + size)
        return True

    def commit(self, size: int, upstream: str = "") -> None:
        """``size`` bytes came of it, and count to the upstream."""
        self._budget.adopt(size, upstream)
        self.release()

    def release(self) -> None:
        self._set(0)

    def _set(self, size: int) -> None:
        budget, more = self._budget, size - self._size
        self._size = size
        budget.reserved += more
        budget.reserved_by[self.upstream] += more
        if not budget.reserved_by[self.upstream]:
            del budget.reserved_by[self.upstream]


class FreeSpaceRule(NamedTuple):
    """Room that stays free on the disk of the cache: the larger of a size and a share."""

    size: int  # bytes
    percent: float  # of the whole disk, 0 to 100

    def floor(self, total: int) -> int:
        """The bytes to keep free on a disk of ``total`` bytes; a part of a byte counts as one."""
        return max(self.size, math.ceil(total * self.percent / 100))

    def shortage(self, free: int, total: int) -> str:
        """What keeps everything out of a disk with so many bytes free of ``total``, in a sentence; empty where nothing
        does."""
        floor = self.floor(total)
        if free >= max(floor, 1):
            return ""
        if floor >= total:
            return (
                f"cache.min_free keeps {floor} bytes free, and the whole disk has {total}: nothing can be kept; lower "
                "cache.min_free, or give the cache a larger volume"
            )
        return f"{free} of {total} bytes are free on the disk, and cache.min_free keeps {floor}: what comes is not kept"
