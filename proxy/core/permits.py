"""How long a registry's yes to one client's credential for one repository carries. Pure.

While it carries nobody is asked. Then the registry is asked again, and only where it does not answer at all does the
yes go on to hold, up to an end that is counted from when it was given.
"""

from typing import NamedTuple

LOOK_AGAIN = 10.0
"""Seconds until a registry that did not answer is asked once more, and seconds that its no is remembered."""


class Permit(NamedTuple):
    """Times in seconds since the epoch."""

    confirmed_at: float
    until: float  # nobody is asked before


def confirmed(now: float, ttl: float) -> Permit:
    """Of a yes at ``now``, which carries ``ttl`` seconds."""
    return Permit(now, now + ttl)


def holds(permit: Permit | None, now: float) -> bool:
    """Whether it decides by itself. A yes in the future is one of a clock that was wrong."""
    return permit is not None and permit.confirmed_at <= now < permit.until


def kept(permit: Permit | None, now: float, stale: float) -> Permit | None:
    """What is left of a yes while the registry does not answer, ``stale`` seconds from when it was given; None for
    nothing."""
    if permit is None or not permit.confirmed_at <= now < permit.confirmed_at + stale:
        return None
    return permit._replace(until=min(now + LOOK_AGAIN, permit.confirmed_at + stale))
