"""How long replies took, by kind and outcome.

What the fast path answers is not timed, since that would cost it a part of its own time: a reply that is made in one
step of the loop, within some ten microseconds, counts as one that took none.
"""

from collections.abc import Callable

from proxy.core.histogram import Histogram
from proxy.front.access_log import AccessLog, Tally

Timed = Callable[[Tally], Histogram]


def latencies(log: AccessLog, timed: Timed) -> dict[tuple[str, ...], Histogram]:
    """Seconds, by kind and outcome; ``timed`` says of what."""
    found: dict[tuple[str, ...], Histogram] = {}
    for tally in log.timed():
        found.setdefault((tally.traffic.kind, tally.traffic.outcome), Histogram()).include(timed(tally))
    untimed = {key: -seen.count for key, seen in found.items()}
    for (_, kind, outcome), requests in log.requests().items():
        untimed[kind, outcome] = untimed.get((kind, outcome), 0) + requests
    for key, count in untimed.items():
        found.setdefault(key, Histogram()).counts[0] += count
    return found
