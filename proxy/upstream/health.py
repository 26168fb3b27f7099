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
from proxy.upstream.message import Kind

OPENS_AFTER = 5  # things in a row that met an outage
OPENS_UNCONNECTED = 10  # connections in a row that could not be made: two requests make so many, one does not
OPENS_LASTING = 2.0  # seconds of outages: a shorter one is waited out by whoever met it
PROBE_EVERY = 5.0  # seconds
RETRY_SHARE = 0.1  # of the requests
RETRY_BURST = 100.0
_SPELL = Backoff(first=1.0, longest=60.0)  # of silence after 429, where the upstream does not say how long
_OUTCOMES: dict[type[UpstreamFault], str] = {
    UpstreamUnreachable: "unreachable",
    UpstreamTimeout: "timeout",
    UpstreamBroken: "broken",
}


class Stats:
    """``requests`` counts by kind and outcome: the class of the status (``2xx``) or ``unreachable``, ``timeout``,
    ``broken``. ``bytes_in`` are body bytes. ``rate_limit_remaining`` is what the upstream last said, None if never."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        self.bytes_in = 0
        self.rate_limit_remaining: int | None = None
        self._lock = threading.Lock()

    def answered(self, kind: Kind, status: int, remaining: str | None) -> None:
        """``remaining`` is the header ``ratelimit-remaining: 76;w=21600`` (Docker Hub, "Pull rate limit")."""
        self.requests[kind.value, f"{status // 100}xx"] += 1
        number = remaining.partition(";")[0].strip() if remaining else ""
        if number.isascii() and number.isdigit():
            self.rate_limit_remaining = int(number[:12])

    def failed(self, kind: Kind, fault: UpstreamFault) -> None:
        """No answer came."""
        self.requests[kind.value, _OUTCOMES.get(type(fault), "broken")] += 1

    def received(self, count: int) -> None:
        """From any thread."""
        with self._lock:
            self.bytes_in += count


class Breaker:
    """Remembers outages and 429 of one upstream, so that while it is down its callers hear so at once.

    An outage at one thing says nothing about the others: what is broken there may be that one blob. So outages count by
    the things that they were met at, and one by one only where no connection could be made.
    """

    def __init__(self) -> None:
        self._connections = 0  # that could not be made, in a row
        self._things: set[str] = set()  # that met an outage, in a row
        self._since = 0.0
        self._last: Outage | None = None
        self._next_probe = 0.0
        self._limited: RateLimited | None = None
        self._limited_until = 0.0
        self._spells = 0  # of 429 in a row

    def closed_off(self, now: float) -> Outage | None:
        """The fault to raise instead of asking; None where the upstream may be asked. While it is down, one caller
        every 5 s gets None: the probe."""
        if self._limited is not None and now < self._limited_until:
            left = max(self._limited_until - now, 1.0)
            return RateLimited(self._limited.upstream, f"it limits our requests for another {left:.0f} s", left)
        met = len(self._things) >= OPENS_AFTER or self._connections >= OPENS_UNCONNECTED
        if not met or now - self._since < OPENS_LASTING or self._last is None:
            return None
        if now >= self._next_probe:
            self._next_probe = now + PROBE_EVERY
            return None
        return afresh(self._last)

    def answered(self) -> None:
        """It works: whatever it said, it was no outage."""
        self._spells = 0
        self._limited = None
        if self._last is not None:
            self._in_a_row_no_more()

    def failed(self, fault: Outage, thing: str | None, now: float) -> None:
        """One more outage in a row, met at ``thing``; None for a connection to the registry that could not be made."""
        if self._last is None:
            self._since = now
        if thing is None:
            self._connections += 1
        elif len(self._things) < OPENS_AFTER:
            self._things.add(thing)
        self._last = afresh(fault)  # what was raised holds on to the frames that it came through
        self._next_probe = now + PROBE_EVERY

    def limited(self, upstream: str, wait: float | None, now: float) -> RateLimited:
        """After a 429: for how long nobody asks, ``wait`` seconds where it said so, at most 60."""
        spell = min(wait or _SPELL.pause(self._spells), _SPELL.longest)
        self._spells += 1
        self._in_a_row_no_more()
        if self._limited is None or now + spell > self._limited_until:
            self._limited_until = now + spell
        self._limited = RateLimited(upstream, f"it limits our requests; the next is in {spell:.0f} s", spell)
        return afresh(self._limited)

    def _in_a_row_no_more(self) -> None:
        self._connections = 0
        self._things.clear()
        self._last = None


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
