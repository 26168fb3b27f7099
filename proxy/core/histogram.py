"""A distribution as Prometheus tells it: how many observations were at most so large, and their sum."""

from bisect import bisect_left
from collections.abc import Sequence

SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Bounds in seconds, of what somebody waits for."""
LONG = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""Bounds in seconds, of transfers."""
AGES = (60.0, 600.0, 3600.0, 6 * 3600.0, *(days * 86400.0 for days in (1, 3, 7, 14, 30, 90, 365)))
"""Bounds in seconds, of what is kept."""
SIZES = tuple(float(1 << power) for power in (10, 14, 17, 20, 22, 24, 26, 28, 30, 32, 34, 36))
"""Bounds in bytes, of blobs."""


class Histogram:
    """Of one unit. For one thread at a time."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = SHORT) -> None:
        """``bounds`` ascend; what is above the last is counted above all."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)  # each without those below it
        self.total = 0.0

    @property
    def count(self) -> int:
        """Of all observations."""
        return sum(self.counts)

    def observe(self, value: float) -> None:
        """A bound includes what equals it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def include(self, other: "Histogram") -> None:
        """What another of the same bounds has seen."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    def cumulative(self) -> list[tuple[str, float]]:
        """Bound and how many were at most so large, the last being ``+Inf``."""
        found, below = [], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            below += count
            found.append((bound, float(below)))
        return found
