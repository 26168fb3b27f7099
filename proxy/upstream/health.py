"""Is an upstream worth asking now? Pure: ``now`` is an argument, monotonic seconds."""

from proxy.core.errors import Outage, RateLimited, afresh

OPENS_AFTER = 5  # outages in a row
PROBE_EVERY = 5.0  # seconds
LONGEST_SPELL = 60.0  # seconds of silence after 429
RETRY_SHARE = 0.1  # of the requests
RETRY_BURST = 10.0


class Health:
    """Remembers outages and 429 of one upstream, so that while it is down its callers hear so at once."""

    def __init__(self) -> None:
        self._outages = 0  # in a row
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
        if self._outages < OPENS_AFTER or self._last is None:
            return None
        if now >= self._next_probe:
            self._next_probe = now + PROBE_EVERY
            return None
        return afresh(self._last)

    def answered(self) -> None:
        """It works: whatever it said, it was no outage."""
        self._outages = self._spells = 0
        self._last = self._limited = None

    def failed(self, fault: Outage, now: float) -> None:
        self._outages += 1
        self._last = fault
        self._next_probe = now + PROBE_EVERY

    def limited(self, upstream: str, wait: float | None, now: float) -> RateLimited:
        """After a 429: for how long nobody asks. Without advice 1 s, then twice as long each time, up to 60 s."""
        spell = min(wait or 2.0**self._spells, LONGEST_SPELL)
        self._spells = min(self._spells + 1, 6)
        self._outages = 0
        if self._limited is None or now + spell > self._limited_until:
            self._limited_until = now + spell
        self._limited = RateLimited(upstream, f"it limits our requests; the next is in {spell:.0f} s", spell)
        return self._limited


class RetryBudget:
    """Retries are at most a tenth of the requests, with a small burst: they must not double the load of an outage."""

    def __init__(self) -> None:
        self._left = RETRY_BURST

    def request(self) -> None:
        self._left = min(self._left + RETRY_SHARE, RETRY_BURST)

    def take(self) -> bool:
        if self._left < 1:
            return False
        self._left -= 1
        return True


def retry_delay(retry: int, jitter: float) -> float:
    """Seconds before the ``retry``-th retry (from 0): full jitter below 0.2 s, 0.4 s, ... 5 s."""
    return jitter * min(5.0, 0.2 * 2.0**retry)
