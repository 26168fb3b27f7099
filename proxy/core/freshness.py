"""How long a tag may be believed. Content by digest has no freshness; only tags age."""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class TagRules:
    """Durations in seconds."""

    ttl: float = 60.0  # served without asking upstream
    stale_if_error: float = 86_400.0  # served when upstream does not answer (RFC 5861 section 4), counted after the ttl
    negative_ttl: float = 10.0  # an absence is remembered
    revalidate_timeout: float = 5.0  # how long a client waits for upstream while a stale answer is at hand


class Standing(Enum):
    FRESH = "fresh"  # serve
    STALE = "stale"  # ask upstream; serve if it does not answer
    DEAD = "dead"  # ask upstream; an outage is the answer


def age(checked_at: float, now: float) -> float:
    """Seconds since upstream was asked; never negative, whatever the clocks did."""
    return max(0.0, now - checked_at)


def standing(rules: TagRules, checked_at: float, now: float) -> Standing:
    """A check that lies in the future is one that the clock cannot vouch for: stale."""
    if checked_at > now:
        return Standing.STALE
    old = now - checked_at
    if old <= rules.ttl:
        return Standing.FRESH
    return Standing.STALE if old <= rules.ttl + rules.stale_if_error else Standing.DEAD
