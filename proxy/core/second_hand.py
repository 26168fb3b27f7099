"""What a cache between us and a registry says of an answer for which it did not ask the registry, so that nobody takes
it for the registry's own word of today.

Only caches of our kind are understood: what ``detail`` means is each cache's own affair (RFC 9211 section 2.7).
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

_MEMBER = re.compile(r"(?:^|,)[ \t]*entrepot((?:[ \t]*;[^,;]*)*)", re.ASCII)
_DETAIL = re.compile(r";[ \t]*detail=\"?(stale|offline)\"?[ \t]*(?=;|$)", re.ASCII)
_WARNING = re.compile(r"299 [^ ]{1,64} \"([ !#-\[\]-~]{1,200})\"", re.ASCII)
_QUOTA = re.compile(r"[0-9]{1,9}(?:[ \t]*;[ \t]*w=[0-9]{1,9})?", re.ASCII)
_STALE = "served stale: upstream does not answer"


class SecondHand(NamedTuple):
    """An answer of a cache's own. ``age`` is how many seconds ago it asked, None where it does not say; ``warning``
    says why it did not ask again; ``offline``, that it is not to."""

    age: float | None
    warning: str
    offline: bool = False


class Remarks(NamedTuple):
    """What an answer says beside its content. ``quota`` are headers about what may still be asked, as they came;
    ``age`` is how many seconds ago a cache has asked the registry for it."""

    second_hand: SecondHand | None = None
    quota: tuple[tuple[str, str], ...] = ()
    age: float = 0.0


NO_REMARKS = Remarks()


def detail_of(cache_status: Sequence[str]) -> str | None:
    """``stale`` or ``offline``, where a cache of our kind says so; of several the one that answered us."""
    found = _DETAIL.search(_last_member(cache_status) or "")
    return found[1] if found else None


def age_of(cache_status: Sequence[str], age: str | None) -> float:
    """Seconds since the registry was asked for what a cache of our kind answers with; 0 for all other answers."""
    return (_seconds(age) or 0.0) if _last_member(cache_status) is not None else 0.0


def _last_member(cache_status: Sequence[str]) -> str | None:
    """What is said behind the name of the last one of our kind."""
    members: list[str] = [member for line in cache_status for member in _MEMBER.findall(line)]
    return members[-1] if members else None


def _seconds(age: str | None) -> float | None:
    return float(age) if age and age.isascii() and age.isdigit() and len(age) <= 9 else None


def second_hand(cache_status: Sequence[str], age: str | None, warnings: Sequence[str]) -> SecondHand | None:
    """By the values of the headers Cache-Status, Age (RFC 9111 section 5.1) and Warning (distribution-spec
    "Warnings"); None for an answer that is the registry's own."""
    detail = detail_of(cache_status)
    if detail is None:
        return None
    why = next((found[1] for each in warnings if (found := _WARNING.match(each))), _STALE)
    return SecondHand(_seconds(age), why, detail == "offline")


def quota(limit: str | None, remaining: str | None) -> tuple[tuple[str, str], ...]:
    """Docker Hub's headers of its "Pull rate limit", for whoever is told of it next; nothing of any other form."""
    said = (("RateLimit-Limit", limit), ("RateLimit-Remaining", remaining))
    return tuple((name, value) for name, value in said if value is not None and _QUOTA.fullmatch(value))
