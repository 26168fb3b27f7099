"""Ranges of bytes: one, and a set of them."""

from bisect import bisect_left, bisect_right
from typing import NamedTuple


class Span(NamedTuple):
    """Bytes ``start`` up to, not including, ``end``."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


class Spans:
    """A set of bytes by position, such as those of an arriving blob that are in: sorted, disjoint spans. One writer at
    a time. The state is one immutable pair that is replaced whole, so a reader on another thread always sees a set
    that was true at some instant."""

    __slots__ = ("_spans",)

    def __init__(self) -> None:
        self._spans: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())  # starts, ends

    def add(self, start: int, end: int) -> None:
        """Bytes ``start`` up to, not including, ``end`` are in; overlapping and touching spans become one."""
        if end <= start:
            return
        starts, ends = self._spans
        first = bisect_left(ends, start)
        last = bisect_right(starts, end)
        if first < last:
            start = min(start, starts[first])
            end = max(end, ends[last - 1])
        self._spans = ((*starts[:first], start, *starts[last:]), (*ends[:first], end, *ends[last:]))

    def run_from(self, position: int) -> int:
        """The end of the unbroken run of bytes that begins at ``position``; ``position`` itself where none does."""
        starts, ends = self._spans
        at = bisect_right(starts, position) - 1
        return max(position, ends[at]) if at >= 0 else position

    def missing(self, size: int) -> list[Span]:
        """The gaps below ``size``, in order."""
        gaps: list[Span] = []
        position = 0
        for start, end in zip(*self._spans, strict=True):
            if position < min(start, size):
                gaps.append(Span(position, min(start, size)))
            position = end
        if position < size:
            gaps.append(Span(position, size))
        return gaps

    @property
    def total(self) -> int:
        starts, ends = self._spans
        return sum(ends) - sum(starts)
