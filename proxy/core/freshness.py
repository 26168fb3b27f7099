"""How long a tag may be believed. Content by digest has no freshness; only tags age."""

from dataclasses import dataclass
from enum import Enum

from proxy.core.second_hand import SecondHand

_EARLIEST = 1_577_836_800.0  # seconds since the epoch, the beginning of 2020: no clock that is right says less

_ASK_AGAIN = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class TagRules:
    """Durations in seconds."""

    ttl: float = 60.0  # served without asking upstream
    stale_if_error: float = 86_400.0  # served when upstream does not answer (RFC 5861 section 4), counted after the ttl
    negative_ttl: float = 10.0  # an absence is remembered
    revalidate_timeout: float = 5.0  # how long a client waits for upstream while a stale answer is at hand


class Standing(Enum):
    """What a tag's age makes of it."""

    FRESH = "fresh"  # serve
    STALE = "stale"  # ask upstream; serve if it does not answer
    DEAD = "dead"  # ask upstream; an outage is the answer


def age(checked_at: float, now: float) -> float | None:
    """Seconds since upstream was asked; None where the clock was wrong then, or is now."""
    return now - checked_at if _EARLIEST <= checked_at <= now else None


def believed_since(age: float, now: float, rules: TagRules) -> float:
    """When the registry was last asked for what a cache still believes: as long ago as it says. Where it believes
    longer than we do it is asked again after a while, and not each time."""
    return now - min(age, max(0.0, rules.ttl - _ASK_AGAIN))


def asked_at(told: SecondHand, now: float, rules: TagRules) -> float:
    """When the registry was last asked for what a cache has told; of an age that it does not say, so long ago that it
    is time to ask again."""
    return now - (told.age if told.age is not None else rules.ttl + 1.0)


def standing(rules: TagRules, checked_at: float, now: float) -> Standing:
    """What was checked in the future, or before there was this software, was checked by a clock that was wrong: stale,
    since nobody knows how old it is."""
    if checked_at > now:
        return Standing.STALE
    old = now - checked_at
    if old <= rules.ttl:
        return Standing.FRESH
    known = old > rules.ttl + rules.stale_if_error and checked_at >= _EARLIEST
    return Standing.DEAD if known else Standing.STALE
