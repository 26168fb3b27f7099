"""What is counted and written down of each request: plain numbers, read by others, and one line.

What is answered from memory is answered many times alike: such a line is made once, and then only its time and its
client are put in.
"""

import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, NamedTuple

from proxy.core.histogram import Histogram
from proxy.core.ledger import Account
from proxy.core.names import Repository, UpstreamNames
from proxy.core.operations import Operation
from proxy.core.tables import BoundedTable
from proxy.front.groups import GroupTallies
from proxy.logs import Entry, Render

_TOLD_APART = 4096  # tallies of repositories
_KEPT = 8 << 20  # bytes of lines; one that is forgotten is made anew, at the cost of one slow line
_CLIENT = "~client~"  # no address is written so, and no form of the log writes it otherwise
_BEGINNING: Final = {"message": "request", "client": _CLIENT}  # the fields that come first
_OF_A_HIT: Final = 5
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


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """What the log shows of a reply that is given many times. Known by its identity."""

    status: int
    traffic: Traffic
    sent: int  # bytes of body


Hit = tuple[float, str, bytes, Answered, str]
"""One request that was answered from memory: seconds since the epoch, client, header block as received, answer, user. A
plain tuple, since to make one of a class takes five times as long."""


class Line(NamedTuple):
    """One request in the access log, as raw as it is noted; ``fields`` is for whoever makes text of it."""

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

    @classmethod
    def of(cls, hit: Hit) -> "Line":
        """The same, as the log shows it."""
        at, client, block, answered, user = hit
        return cls(at, client, block, answered.status, answered.traffic, answered.sent, 0.0, "", "", user)

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
    told: int = 0  # of them, by ``AccessLog.grown``
    first_byte: Histogram = field(default_factory=Histogram)  # seconds until the head of a timed reply went out
    seconds: Histogram = field(default_factory=Histogram)  # until the end of one


class AccessLog:
    """``write`` takes lines and must not block. ``every`` says that each request has one; of others ``wants`` decides,
    so that a hit makes no line that nobody wants."""

    def __init__(
        self, names: UpstreamNames, write: Callable[[Hit | Line], None] | None, lines: Lines = Lines.ALL
    ) -> None:
        # By labels and status class; and by repository, of what was found there.
        self.tallies: dict[tuple[Traffic, str, Repository | None], Tally] = {}
        self._told_apart = 0  # of them, those of a repository
        self.groups = GroupTallies()
        self.cut = 0  # replies broken off
        self.every = write is not None and lines is Lines.ALL
        self._errors = write is not None and lines is not Lines.NONE
        self.write: Callable[[Hit | Line], None] = write if write is not None else lambda line: None
        self._names = names

    def wants(self, status: int, fault: str) -> bool:
        """Whether a request that ended so has a line; ``fault`` is empty where all went well."""
        return self.every or (self._errors and (status >= 400 or fault != ""))

    def tally(self, operation: Operation | None, outcome: str, status: int) -> Tally:
        """``operation`` is None of a request that asks for nothing there is."""
        repository = operation.repository if operation is not None else None
        upstream = self._names.configured(repository.upstream) or "" if repository is not None else ""
        traffic = Traffic(upstream, operation.kind if operation is not None else "none", outcome)
        apart = 200 <= status < 300 and self._told_apart < _TOLD_APART
        key = (traffic, f"{status // 100}xx", repository if apart else None)
        found = self.tallies.get(key)
        if found is None:
            found = self.tallies[key] = Tally(traffic)
            if key[2] is not None:  # how long it took is not told apart
                self._told_apart += 1
                of_all = self.tallies.setdefault((traffic, key[1], None), Tally(traffic))
                found.first_byte, found.seconds = of_all.first_byte, of_all.seconds
        return found

    def timed(self) -> Iterable[Tally]:
        """Those by labels and status class alone, which have the times of all."""
        return [tally for (_, _, repository), tally in self.tallies.items() if repository is None]

    @property
    def is_full(self) -> bool:
        """Whether repositories that are new are not told apart any more."""
        return self._told_apart >= _TOLD_APART

    def grown(self) -> Mapping[Account, int]:
        """Bytes of bodies of upstreams' content that were sent since this was asked last."""
        grown: Counter[Account] = Counter()
        for (traffic, status, repository), tally in self.tallies.items():
            if tally.sent > tally.told and status == "2xx" and traffic.upstream:
                grown[Account(traffic.upstream, str(repository or ""))] += tally.sent - tally.told
                tally.told = tally.sent
        return grown

    def begin_anew(self) -> None:
        """Repositories that were told apart are summed up, so that there is room for others. Nobody may go on with a
        tally that he has."""
        before, self._told_apart = self.tallies, 0
        self.tallies = {key: tally for key, tally in before.items() if key[2] is None}
        for (traffic, status, repository), tally in before.items():
            if repository is not None:
                summed = self.tallies[traffic, status, None]
                summed.requests += tally.requests
                summed.sent += tally.sent
                summed.told += tally.told

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
        for (traffic, status, _), tally in self.tallies.items():
            totals[labels(traffic, status)] += value(tally)
        return totals


Logged = Entry | Line | Hit
"""All that is written into the log."""


class LogLines:
    """The lines of a batch; ``render`` makes any one of them. To be asked for one batch after the other."""

    def __init__(self, render: Render) -> None:
        self._render = render
        self._endings: BoundedTable[tuple[bytes, Answered, str], str] = BoundedTable(_KEPT)

    def __call__(self, batch: Sequence[Logged]) -> str:
        """Each with its end."""
        pieces: list[str] = []
        ending, opening = self._endings.peek, ""
        since = until = 0.0  # seconds since the epoch, within a millisecond, that ``opening`` tells
        for logged in batch:
            if len(logged) == _OF_A_HIT:
                at, client, block, answered, user = logged
                if not since <= at < until:
                    since, until = at, (int(at * 1000) + 1) / 1000
                    opening = self._render((at, "info", _BEGINNING)).partition(_CLIENT)[0]
                pieces += opening, client, ending((block, answered, user)) or self._ending(logged)
            else:
                entry = (logged.at, "info", logged.fields()) if isinstance(logged, Line) else logged
                pieces += self._render(entry), "\n"
        return "".join(pieces)

    def _ending(self, hit: Hit) -> str:
        """What is behind the client, which is the same for all such hits."""
        fields = Line.of(hit).fields() | _BEGINNING
        ending = self._render((0.0, "info", fields)).partition(_CLIENT)[2] + "\n"
        self._endings.put(hit[2:], ending)
        return ending
