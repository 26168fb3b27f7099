"""What all upstreams came to, in the forms that metrics have. ``counted`` gives what each was asked, by the key of the
configuration that it is there by; a key may come several times."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from proxy.core.histogram import Histogram
from proxy.core.ledger import Account
from proxy.upstream.health import Stats

Counted = Iterable[tuple[str, Stats]]
Figures = dict[tuple[str, ...], float]
"""By label values."""


def requests(counted: Counted) -> Figures:
    """By key, kind and status."""
    totals: Counter[tuple[str, ...]] = Counter()
    for label, stats in counted:
        for (kind, status), count in stats.requests.items():
            totals[label, kind, status] += count
    return dict(totals)


def received(counted: Counted) -> Figures:
    """Bytes by key."""
    totals: Counter[tuple[str, ...]] = Counter()
    for label, stats in counted:
        totals[label,] += stats.bytes_in
    return dict(totals)


def first_bytes(counted: Counted) -> dict[tuple[str, ...], Histogram]:
    """Seconds until the head of an answer was there, by key and kind."""
    found: dict[tuple[str, ...], Histogram] = {}
    for label, stats in counted:
        for kind, seen in stats.first_bytes.items():
            found.setdefault((label, kind), Histogram()).include(seen)
    return found


def grown(counted: Counted) -> Mapping[Account, int]:
    """Bytes by key and repository since this was asked last."""
    totals: Counter[Account] = Counter()
    for label, stats in counted:
        for repository, count in stats.grown().items():
            totals[Account(label, repository)] += count
    return totals


def quotas(counted: Counted) -> tuple[Figures, Figures]:
    """What upstreams allow, and what is left of it, as they last said: of the hosts of one pattern, the least."""
    allowed: Figures = {}
    left: Figures = {}
    for label, stats in counted:
        for found, number in ((allowed, stats.rate_limit), (left, stats.rate_limit_remaining)):
            if number is not None:
                found[label,] = min(number, found.get((label,), number))
    return allowed, left


def closed_off(breakers: Mapping[tuple[str, str], int], keys: Iterable[str], label: Callable[[str], str]) -> Figures:
    """How many hosts and things are not asked now, by key and reach; ``label`` gives an upstream's key."""
    found: Figures = {(key, reach): 0.0 for key in keys for reach in ("host", "thing")}
    for (name, reach), count in breakers.items():
        key = (label(name), reach)
        found[key] = found.get(key, 0.0) + count
    return found
