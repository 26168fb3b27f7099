"""How long replies took, by kind and outcome.

What the fast path answers is not timed, since that would cost it a part of its own time: a reply that is made in one
step of the loop, within some ten microseconds, counts as one that took none.
"""

from collections.abc import Callable, Iterable

from proxy.core.histogram import Histogram
from proxy.front.access_log import Tally

Timed = Callable[[Tally], Histogram]


def latencies(tallies: Iterable[Tally], timed: Timed) -> dict[tuple[str, ...], Histogram]:
    """Seconds, by kind and outcome; ``timed`` says of what."""
    found: dict[tuple[str, ...], Histogram] = {}
    for tally in tallies:
        whole = found.setdefault((tally.traffic.kind, tally.traffic.outcome), Histogram())
        seen = timed(tally)
        whole.include(seen)
        whole.counts[0] += tally.requests - seen.count
    return found
