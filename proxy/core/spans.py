"""Which bytes of an arriving blob are in: sorted, disjoint half-open spans."""

from bisect import bisect_left, bisect_right


class Spans:
    """A set of bytes by position. One writer; readers on other threads see a state that was true at some instant."""

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> None:
        """Bytes ``start`` up to, not including, ``end`` are in; overlapping and touching spans become one."""
        if end <= start:
            return
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def run_from(self, position: int) -> int:
        """The end of the unbroken run of bytes that begins at ``position``; ``position`` itself where none does."""
        at = bisect_right(self._starts, position) - 1
        return max(position, self._ends[at]) if at >= 0 and self._ends[at] > position else position

    def missing(self, size: int) -> list[tuple[int, int]]:
        """The gaps below ``size``, in order."""
        gaps, position = [], 0
        for start, end in zip(self._starts, self._ends, strict=True):
            if start > position:
                gaps.append((position, min(start, size)))
            position = end
        if position < size:
            gaps.append((position, size))
        return gaps

    @property
    def total(self) -> int:
        return sum(self._ends) - sum(self._starts)
