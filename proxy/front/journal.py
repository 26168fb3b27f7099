"""What the door counts and writes down of each request: plain numbers, read by others."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

_CLASSES = ("0xx", "1xx", "2xx", "3xx", "4xx", "5xx")


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


class Journal:
    """``write`` takes lines and must not block; where ``writes`` is false nobody wants them."""

    def __init__(self, write: Callable[[Line], None] | None) -> None:
        self.requests: Counter[Traffic] = Counter()
        self.sent: Counter[tuple[str, str]] = Counter()  # bytes by upstream and outcome
        self.statuses: Counter[str] = Counter()
        self.cut = 0  # replies broken off
        self.writes = write is not None
        self._write = write

    def count(self, traffic: Traffic, status: int, sent: int) -> None:
        self.requests[traffic] += 1
        self.sent[traffic.upstream, traffic.outcome] += sent
        self.statuses[_CLASSES[status // 100]] += 1

    def write(self, line: Line) -> None:
        if self._write is not None:
            self._write(line)
