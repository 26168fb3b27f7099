"""What a token says, and whether that counts here and now (RFC 7519 section 4; RFC 8725). Pure: whether its signature
is right is known before.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

LEEWAY = 30.0
"""Seconds that clocks of others may be off."""
_LONGEST_NAME = 1024
_MOST_GROUPS = 1000


class TokenRefused(ValueError):
    """The sentence is for the operator, and quotes nothing of the token."""


class Named(NamedTuple):
    """Whom a token names. ``until`` is in seconds since the epoch of the world's clock."""

    name: str
    groups: frozenset[str]
    until: float


class Expected(NamedTuple):
    """``groups`` is the claim that lists them, None where none does."""

    issuer: str
    audience: str
    groups: str | None = None
    leeway: float = LEEWAY


def named_by(claims: Mapping[str, Any], expected: Expected, now: float) -> Named:
    """``now`` in seconds since the epoch of the world's clock. A token without an end is refused. Raises
    TokenRefused."""
    if claims.get("iss") != expected.issuer:
        raise TokenRefused("it is of another issuer")
    if expected.audience not in _texts(claims.get("aud")):
        raise TokenRefused("it is for another audience")
    end = _moment(claims, "exp")
    if end is None:
        raise TokenRefused("it has no end")
    if end + expected.leeway <= now:
        raise TokenRefused("it is over")
    for claim in ("nbf", "iat"):
        begin = _moment(claims, claim)
        if begin is not None and begin - max(expected.leeway, LEEWAY) > now:
            raise TokenRefused("it has not begun")
    name = claims.get("sub")
    if not isinstance(name, str) or len(name) > _LONGEST_NAME or not name.isprintable():
        raise TokenRefused("it names nobody")
    groups = _texts(claims.get(expected.groups)) if expected.groups is not None else ()
    return Named(name, frozenset(groups[:_MOST_GROUPS]), end + expected.leeway)


def _texts(value: object) -> Sequence[str]:
    """Of a claim that is one text or a list of them."""
    if isinstance(value, str):
        return (value,)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else ()


def _moment(claims: Mapping[str, Any], claim: str) -> float | None:
    value = claims.get(claim)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise TokenRefused(f"its {claim} is no time")
    return float(value)
