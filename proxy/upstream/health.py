"""How one upstream does: what it was asked and sent, in plain integers for the metrics, and whether it is worth asking
now. ``now`` is an argument everywhere, monotonic seconds."""

import threading
from collections import Counter

from proxy.core.backoff import Backoff
from proxy.core.errors import (
    Outage,
    RateLimited,
    UpstreamBroken,
    UpstreamFault,
    UpstreamTimeout,
    UpstreamUnreachable,
    afresh,
)
from proxy.core.histogram import Histogram
from proxy.core.tables import BoundedTable, Tables, of_upstream
from proxy.upstream.message import Kind

OPENS_AFTER = 2  # questions in a row about one thing that ended in an outage
OPENS_SILENT = 3  # repositories in a row of which a host told nothing
OPENS_UNCONNECTED = 10  # connections in a row that could not be made: two requests make so many, one does not
OPENS_LASTING = 2.0  # seconds of outages: a shorter one is waited out by whoever met it
PROBE_EVERY = 5.0  # seconds
RETRY_SHARE = 0.1  # of the requests
RETRY_BURST = 100.0
_TOLD_APART = 4096  # repositories
_LIMIT = 4 << 20  # bytes
_BREAKER = 4 << 10  # bytes of one, with the fault and the members that it holds
_OUTAGES = "outages"
_HOST, _THING = "host", "thing"
_SPELL = Backoff(first=1.0, longest=60.0)  # of silence after 429, where the upstream does not say how long
_OUTCOMES: dict[type[UpstreamFault], str] = {
    UpstreamUnreachable: "unreachable",
    UpstreamTimeout: "timeout",
    UpstreamBroken: "broken",
}


class Stats:
    """``requests`` counts by kind and outcome: the class of the status (``2xx``) or ``unreachable``, ``timeout``,
    ``broken``. ``bytes_in`` are body bytes. ``rate_limit`` and ``rate_limit_remaining`` are what the upstream last
    said, None if never. ``first_bytes`` are seconds until the head of an answer was there, by kind. ``trouble`` is the
    last fault in words, met at ``troubled_at`` on the clock of those who ask."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        self.bytes_in = 0
        self._grown: Counter[str] = Counter()  # of them by REGISTRY/REPOSITORY, since ``grown`` was asked
        self.rate_limit: int | None = None
        self.rate_limit_remaining: int | None = None
        self.first_bytes: dict[str, Histogram] = {}
        self.trouble = ""
        self.troubled_at = 0.0
        self._lock = threading.Lock()

    def answered(self, kind: Kind, status: int, remaining: str | None) -> None:
        """``remaining`` is the header ``ratelimit-remaining: 76;w=21600`` (Docker Hub, "Pull rate limit")."""
        self.requests[kind.value, f"{status // 100}xx"] += 1
        if (number := _number(remaining)) is not None:
            self.rate_limit_remaining = number

    def waited(self, kind: Kind, seconds: float, limit: str | None) -> None:
        """For the head of an answer, connecting included; ``limit`` is its header ``ratelimit-limit``."""
        if kind.value not in self.first_bytes:
            self.first_bytes[kind.value] = Histogram()
        self.first_bytes[kind.value].observe(seconds)
        if (number := _number(limit)) is not None:
            self.rate_limit = number

    def troubled(self, fault: UpstreamFault, now: float) -> None:
        """A question ended so, all tries included."""
        self.trouble, self.troubled_at = str(fault), now

    def failed(self, kind: Kind, fault: UpstreamFault) -> None:
        """No answer came."""
        self.requests[kind.value, _OUTCOMES.get(type(fault), "broken")] += 1

    def include(self, other: "Stats") -> None:
        """What another has counted."""
        self.requests.update(other.requests)
        grown = other.grown()
        for repository, count in grown.items():
            self.received(repository, count)
        self.bytes_in += other.bytes_in - grown.total()
        for kind, seen in other.first_bytes.items():
            self.first_bytes.setdefault(kind, Histogram()).include(seen)

    def received(self, repository: str, count: int) -> None:
        """For REGISTRY/REPOSITORY. From any thread."""
        with self._lock:
            self.bytes_in += count
            apart = repository in self._grown or len(self._grown) < _TOLD_APART
            self._grown[repository if apart else ""] += count

    def grown(self) -> Counter[str]:
        """Bytes that came since this was asked last, by repository; by none where there were too many."""
        with self._lock:
            grown, self._grown = self._grown, Counter()
        return grown


def _number(header: str | None) -> int | None:
    """The first of a header as ``76;w=21600``."""
    number = header.partition(";")[0].strip() if header else ""
    return int(number[:12]) if number.isascii() and number.isdigit() else None


class Breaker:
    """Remembers the outages in a row of one thing, or one host, so that while it is down its callers hear so at once.

    ``outages`` that are ``apart`` open it, once they have lasted for 2 s; of those that say at which member they were
    met, each member counts once."""

    def __init__(self, outages: int, apart: int) -> None:
        self._outages = outages
        self._apart = apart
        self._met = 0  # in a row
        self._members: set[str] = set()
        self._since = 0.0
        self._last: Outage | None = None
        self._next_probe = 0.0
        self._limited: RateLimited | None = None
        self._limited_until = 0.0
        self._spells = 0  # of 429 in a row

    def closed_off(self, now: float) -> Outage | None:
        """The fault to raise instead of asking; None where it may be asked. While it is down, one caller every 5 s gets
        None: the probe."""
        if self._limited is not None and now < self._limited_until:
            left = max(self._limited_until - now, 1.0)
            return RateLimited(self._limited.upstream, f"it limits our requests for another {left:.0f} s", left)
        if self._last is None or not self._is_met(now):
            return None
        if now >= self._next_probe:
            self._next_probe = now + PROBE_EVERY
            return None
        return afresh(self._last)

    def is_open(self, now: float) -> bool:
        """Is what it watches closed off, but for a probe?"""
        return now < self._limited_until or self._is_met(now)

    def _is_met(self, now: float) -> bool:
        met = self._met >= self._outages or len(self._members) >= self._apart
        return met and self._last is not None and now - self._since >= OPENS_LASTING

    def failed(self, fault: Outage, member: str | None, now: float) -> None:
        """One more outage in a row, at a member where that is not beyond doubt the whole."""
        if self._last is None:
            self._since = now
        if member is None:
            self._met += 1
        elif len(self._members) < self._apart:
            self._members.add(member)
        self._last = afresh(fault)  # what was raised holds on to the frames that it came through
        self._next_probe = now + PROBE_EVERY

    def limited(self, upstream: str, wait: float | None, now: float) -> RateLimited:
        """After a 429: for how long nobody asks, ``wait`` seconds where it said so, at most 60."""
        spell = min(wait or _SPELL.pause(self._spells), _SPELL.longest)
        self._spells += 1
        self._met, self._last = 0, None
        self._members.clear()
        if self._limited is None or now + spell > self._limited_until:
            self._limited_until = now + spell
        self._limited = RateLimited(upstream, f"it limits our requests; the next is in {spell:.0f} s", spell)
        return afresh(self._limited)


class Outages:
    """What of one upstream is not worth asking now. A fault reaches as far as its cause: a host that takes no
    connections, gives no answers or limits our requests closes off that host, and nothing that is said of it names what
    somebody asked for; every other outage, that one thing."""

    def __init__(self, upstream: str, tables: Tables) -> None:
        self._upstream = upstream
        self._breakers: BoundedTable[tuple[str, str, str], Breaker] = tables.table(
            _OUTAGES, _LIMIT, None, of_upstream, lambda _: _BREAKER
        )

    def thing_closed_off(self, thing: str, now: float) -> Outage | None:
        """As ``Breaker.closed_off``."""
        breaker = self._breakers.get((self._upstream, _THING, thing))
        return breaker.closed_off(now) if breaker is not None else None

    def host_closed_off(self, origin: str, now: float) -> Outage | None:
        """As ``Breaker.closed_off``."""
        breaker = self._breakers.get((self._upstream, _HOST, origin))
        return breaker.closed_off(now) if breaker is not None else None

    def thing_failed(self, fault: Outage, thing: str, now: float) -> None:
        """All tries of one question about it ended in an outage."""
        self._breaker(_THING, thing).failed(fault, None, now)

    def thing_answered(self, thing: str) -> None:
        """Whatever was said of it, it was no outage."""
        self._breakers.pop((self._upstream, _THING, thing))

    def unconnected(self, fault: UpstreamUnreachable, origin: str, now: float) -> None:
        """No connection to the host could be made."""
        self._breaker(_HOST, origin).failed(fault, None, now)

    def silent(self, origin: str, repository: str, now: float) -> None:
        """The host gave no answer to a question about a repository, which may have a backend of its own."""
        fault = UpstreamTimeout(self._upstream, f"{origin} gives no answers")
        self._breaker(_HOST, origin).failed(fault, repository, now)

    def limited(self, origin: str, wait: float | None, now: float) -> RateLimited:
        """As ``Breaker.limited``, of the host that answered 429."""
        return self._breaker(_HOST, origin).limited(self._upstream, wait, now)

    def host_answered(self, origin: str) -> None:
        """The host works: whatever it said, it was no 429."""
        self._breakers.pop((self._upstream, _HOST, origin))

    def _breaker(self, reach: str, name: str) -> Breaker:
        key = (self._upstream, reach, name)
        breaker = self._breakers.get(key)
        if breaker is None:
            breaker = Breaker(OPENS_AFTER, 1) if reach == _THING else Breaker(OPENS_UNCONNECTED, OPENS_SILENT)
            self._breakers.put(key, breaker)
        return breaker


def open_breakers(tables: Tables, now: float) -> Counter[tuple[str, str]]:
    """How many things and hosts are closed off, by upstream and ``host`` or ``thing``."""
    table = tables.made.get(_OUTAGES)
    breakers = table.items() if table is not None else ()
    return Counter((upstream, reach) for (upstream, reach, _), breaker in breakers if breaker.is_open(now))


class RetryBudget:
    """Retries are at most a tenth of the requests, with a burst in which everything under way may be asked for once
    more: they must not double the load of an outage."""

    def __init__(self) -> None:
        self._left = RETRY_BURST

    def request(self) -> None:
        """A request that is no retry earns its share of one."""
        self._left = min(self._left + RETRY_SHARE, RETRY_BURST)

    def take(self) -> bool:
        """Whether one more retry may be."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
