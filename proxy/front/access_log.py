"""What is counted and writes down of each request: plain numbers, read by others."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple


class Line(NamedTuple):
    """One request in the access log."""

    at: float  # seconds since the epoch
    client: str
    method: str
    target: str  # as received, at most 1 KiB
    status: int
    outcome: str
    upstream: str  # empty where none is concerned
    sent: int  # bytes of body
    seconds: float
    agent: str
    fault: str  # empty where all went well


class Traffic(NamedTuple):
    """Labels of one counter: closed sets all of them."""

    upstream: str
    kind: str
    outcome: str


class Tally:
    """One set of labels: plain numbers, so that a hit costs two additions."""

    __slots__ = ("requests", "sent")

    def __init__(self) -> None:
        self.requests = 0
        self.sent = 0  # bytes of bodies


class AccessLog:
    """``write`` takes lines and must not block; where ``writes`` is false nobody wants them."""

    def __init__(self, write: Callable[[Line], None] | None) -> None:
        self.tallies: dict[tuple[Traffic, str], Tally] = {}  # by labels and status class
        self.cut = 0  # replies broken off
        self.writes = write is not None
        self._write = write

    def tally(self, traffic: Traffic, status: int) -> Tally:
        key = (traffic, f"{status // 100}xx")
        found = self.tallies.get(key)
        if found is None:
            found = self.tallies[key] = Tally()
        return found

    def write(self, line: Line) -> None:
        if self._write is not None:
            self._write(line)

    def requests(self) -> Counter[tuple[str, ...]]:
        """By upstream, kind and outcome."""
        return self._sum(lambda traffic, _: traffic, lambda tally: tally.requests)

    def statuses(self) -> Counter[tuple[str, ...]]:
        """Replies by status class."""
        return self._sum(lambda _, status: (status,), lambda tally: tally.requests)

    def outcomes(self) -> Counter[tuple[str, ...]]:
        return self._sum(lambda traffic, _: (traffic.outcome,), lambda tally: tally.requests)

    def sent(self) -> Counter[tuple[str, ...]]:
        """Bytes of bodies by upstream and outcome."""
        return self._sum(lambda traffic, _: (traffic.upstream, traffic.outcome), lambda tally: tally.sent)

    def _sum(
        self, labels: Callable[[Traffic, str], tuple[str, ...]], value: Callable[[Tally], int]
    ) -> Counter[tuple[str, ...]]:
        totals: Counter[tuple[str, ...]] = Counter()
        for (traffic, status), tally in self.tallies.items():
            totals[labels(traffic, status)] += value(tally)
        return totals
