"""What is counted and written down of each request: plain numbers, read by others, and one line.

The line is made in the log's own thread. What is answered from memory is answered many times alike: such a line is made
once, and then only its time and its client are put in.
"""

import re
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, NamedTuple

from proxy.core.histogram import Histogram
from proxy.core.names import UpstreamNames
from proxy.core.operations import Operation
from proxy.core.tables import BoundedTable
from proxy.logs import Entry, stamp

_KEPT = 8 << 20  # bytes of lines; one that is forgotten is made anew, at the cost of one slow line
_CLIENT = "~client~"  # no address is written so, and no form of the log writes it otherwise
_REQUEST_LINE: Final = re.compile(rb"([^ ]{1,16})[^ ]* +([^ ]{0,1024})")
_AGENT: Final = re.compile(rb"\r\nuser-agent:[ \t]*([^\r\n]{0,256})", re.IGNORECASE)


class Lines(Enum):
    """Which requests have a line."""

    ALL = "all"
    ERRORS = "errors"  # refused, failed or cut
    NONE = "none"


class Traffic(NamedTuple):
    """Labels of one counter: closed sets all of them."""

    upstream: str  # empty where none is concerned
    kind: str
    outcome: str


class Line(NamedTuple):
    """One request in the access log, as raw as it is noted; ``fields`` is for the thread that writes."""

    at: float  # seconds since the epoch
    client: str
    block: bytes  # the header block as received
    status: int
    traffic: Traffic
    sent: int  # bytes of body
    seconds: float
    fault: str  # in the operator's words; empty where all went well
    request: str = ""  # the id that the client was told with the fault
    user: str = ""  # empty of whoever has not logged in

    def fields(self) -> dict[str, Any]:
        """What the log shows, by name."""
        line, agent = _REQUEST_LINE.match(self.block), _AGENT.search(self.block)
        named = {"user": self.user} if self.user else {}
        return {
            "message": "request",
            "client": self.client,
            "method": line[1].decode("latin-1") if line else "",
            "target": line[2].decode("latin-1") if line else "",
            "status": self.status,
            "outcome": self.traffic.outcome,
            "upstream": self.traffic.upstream,
            "sent": self.sent,
            "seconds": self.seconds,
            "agent": agent[1].decode("latin-1").rstrip() if agent else "",
            "fault": self.fault,
            "request": self.request,
            **named,
        }


def new_request_id() -> str:
    """Joins what a client was told of a fault to the line that has the rest."""
    return secrets.token_hex(6)


@dataclass(slots=True, eq=False)
class Tally:
    """One set of labels: plain numbers, so that a hit costs two additions. What is answered in memory is not timed."""

    traffic: Traffic
    requests: int = 0
    sent: int = 0  # bytes of bodies
    first_byte: Histogram = field(default_factory=Histogram)  # seconds until the head of a timed reply went out
    seconds: Histogram = field(default_factory=Histogram)  # until the end of one


class AccessLog:
    """``write`` takes lines and must not block. ``every`` says that each request has one; of others ``wants`` decides,
    so that a hit makes no line that nobody wants."""

    def __init__(self, names: UpstreamNames, write: Callable[[Line], None] | None, lines: Lines = Lines.ALL) -> None:
        self.tallies: dict[tuple[Traffic, str], Tally] = {}  # by labels and status class
        self.cut = 0  # replies broken off
        self.every = write is not None and lines is Lines.ALL
        self._errors = write is not None and lines is not Lines.NONE
        self.write: Callable[[Line], None] = write if write is not None else lambda line: None
        self._names = names

    def wants(self, status: int, fault: str) -> bool:
        """Whether a request that ended so has a line; ``fault`` is empty where all went well."""
        return self.every or (self._errors and (status >= 400 or fault != ""))

    def tally(self, operation: Operation | None, outcome: str, status: int) -> Tally:
        """``operation`` is None of a request that asks for nothing there is."""
        repository = operation.repository if operation is not None else None
        upstream = self._names.configured(repository.upstream) or "" if repository is not None else ""
        traffic = Traffic(upstream, operation.kind if operation is not None else "none", outcome)
        key = (traffic, f"{status // 100}xx")
        found = self.tallies.get(key)
        if found is None:
            found = self.tallies[key] = Tally(traffic)
        return found

    def requests(self) -> Counter[tuple[str, ...]]:
        """By upstream, kind and outcome."""
        return self._sum(lambda traffic, _: traffic, lambda tally: tally.requests)

    def statuses(self) -> Counter[tuple[str, ...]]:
        """Replies by status class."""
        return self._sum(lambda _, status: (status,), lambda tally: tally.requests)

    def outcomes(self) -> Counter[tuple[str, ...]]:
        """Requests by outcome."""
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


Logged = Entry | Line
"""All that is written into the log."""


def lines_of(render: Callable[[Entry], str]) -> Callable[[Logged], str]:
    """Makes any line of the log; ``render`` makes those that are no request's. Not to be shared by threads."""
    requests = AccessLines(render)
    return lambda logged: requests(logged) if isinstance(logged, Line) else render(logged)


class _Around(NamedTuple):
    """A line without its time and its client."""

    before: str
    between: str
    behind: str


class AccessLines:
    """``render`` makes any line of the log. Not to be shared by threads."""

    def __init__(self, render: Callable[[Entry], str]) -> None:
        self._render = render
        self._known: BoundedTable[tuple[object, ...], _Around] = BoundedTable(_KEPT)
        self._millisecond = -1
        self._stamp = ""

    def __call__(self, line: Line) -> str:
        if line.seconds or line.fault:
            return self._render((line.at, "info", line.fields()))
        millisecond = int(line.at * 1000)
        if millisecond != self._millisecond:
            self._millisecond, self._stamp = millisecond, stamp(line.at)
        alike = (*line[2:6], line.user)  # the header block, status, traffic, bytes sent
        before, between, behind = self._known.peek(alike) or self._made(line, alike)
        return f"{before}{self._stamp}{between}{line.client}{behind}"

    def _made(self, line: Line, alike: tuple[object, ...]) -> _Around:
        written = self._render((0.0, "info", {**line.fields(), "client": _CLIENT}))
        before, _, rest = written.partition(stamp(0.0))
        between, _, behind = rest.partition(_CLIENT)
        around = _Around(before, between, behind)
        self._known.put(alike, around)
        return around
