"""How many transfers bring one large blob, and which part each of them brings. Pure: rates are arguments.

Object storage gives one connection 80-100 MB/s, so a large blob comes sooner over several. Parts are handed out from
the front and are small beside the blob, so that whoever reads from the front is never far behind.
"""

from heapq import heappop, heappush
from typing import NamedTuple

MIB = 1 << 20


class TransferRules(NamedTuple):
    """Bytes and seconds."""

    most: int = 4  # transfers at a time for one blob
    smallest: int = 64 * MIB  # of the rest: below, one transfer is soon done anyway
    soon: float = 0.5  # a rest that comes within this time is not worth another connection
    least_part: int = 8 * MIB
    largest_part: int = 32 * MIB
    window: float = 0.25  # over which a rate is measured
    idle: float = 0.8  # of a window: a first transfer that waits less for its upstream has no need of another
    gain: float = 1.2  # more transfers stay when the rate grows at least so much


class Tempo:
    """How many transfers are wanted. Begins with one and doubles while that helps."""

    def __init__(self, rules: TransferRules) -> None:
        self.wanted = 1
        self._rules = rules
        self._before: tuple[int, float] | None = None  # how many there were, and the rate that they reached
        self._settled = rules.most <= 1

    @property
    def settled(self) -> bool:
        """It stays as it is."""
        return self._settled

    def measured(self, rate: float, rest: int, waiting: float) -> int:
        """How many from now on, after a window in which as many as wanted brought ``rate`` bytes per second, the first
        of them spent ``waiting`` of its time waiting for upstream, and ``rest`` bytes are still to come."""
        if self._settled:
            return self.wanted
        if self._before is not None and rate < self._rules.gain * self._before[1]:
            self.refused()
        elif self.wanted >= self._rules.most or rest < self._rules.smallest or rest < rate * self._rules.soon:
            self._settled = True
        elif self._before is not None or waiting >= self._rules.idle:
            self._before = (self.wanted, rate)
            self.wanted = min(2 * self.wanted, self._rules.most)
        return self.wanted

    def refused(self) -> None:
        """More did not help, or cannot be had: back to as many as there were, for good."""
        self.at_most(self.wanted if self._before is None else self._before[0])

    def at_most(self, count: int) -> None:
        """No more than that, for good."""
        self.wanted = min(self.wanted, count)
        self._settled = True


class Parts:
    """Hands out ``start`` up to ``size`` in order, each byte once."""

    def __init__(self, start: int, size: int, rules: TransferRules) -> None:
        self._next = start
        self._size = size
        self._rules = rules
        self._returned: list[tuple[int, int]] = []

    def take(self, transfers: int) -> tuple[int, int] | None:
        """(start, end) of the foremost part for one of so many transfers; None at the end. A lone transfer is given
        all the rest. Parts shrink towards the end, so that all transfers end at about the same time."""
        if self._returned:
            return heappop(self._returned)
        length = left = self._size - self._next
        if left <= 0:
            return None
        if transfers > 1:
            length = max(self._rules.least_part, min(left // (2 * transfers), self._rules.largest_part))
            if left - length < self._rules.least_part // 2:  # a splinter is not worth a request
                length = left
        start, self._next = self._next, self._next + length
        return start, self._next

    def give_back(self, part: tuple[int, int]) -> None:
        """Somebody else must bring it."""
        heappush(self._returned, part)
