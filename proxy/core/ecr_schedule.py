"""When AWS is asked for an ECR authorization token: how long one lives, when it is renewed, how failures space out.

All times are seconds of one monotonic clock, so a step of the wall clock neither ends a token nor keeps it alive.
"""

from typing import NamedTuple

from proxy.core.backoff import Backoff

LONGEST_LIFE = 12 * 3600.0  # ECR API reference, GetAuthorizationToken: "valid for 12 hours"
SHORTEST_LIFE = 60.0
CALL_SPACING = 60.0  # at least this between two calls that succeed, whatever the answers say
AGAIN = Backoff(first=0.25, longest=60.0, spread=0.2)  # after calls that failed; a pull waits for the first few


class EcrToken(NamedTuple):
    """What AWS gave. ``value`` is the Basic credential, base64 of ``AWS:password``."""

    value: str
    received_at: float  # monotonic seconds
    lifetime: float  # seconds

    def __repr__(self) -> str:
        return f"EcrToken(received_at={self.received_at}, lifetime={self.lifetime})"

    @property
    def expires_at(self) -> float:
        return self.received_at + self.lifetime

    def usable(self, now: float) -> bool:
        return now < self.expires_at


def token_lifetime(expires_at: float, answered_at: float) -> float:
    """Seconds a token lives from its receipt; both arguments are wall-clock seconds, best of AWS's own clock.

    An expiry that lies in the past at birth says nothing about the token, only that two clocks disagree; the documented
    life holds then.
    """
    life = expires_at - answered_at
    return LONGEST_LIFE if life <= 0 else min(max(life, SHORTEST_LIFE), LONGEST_LIFE)


def renewal_time(token: EcrToken, jitter: float) -> float:
    """When to ask for the successor: at half life, moved by up to a tenth of the life; ``jitter`` is in [0, 1)."""
    return token.received_at + max(CALL_SPACING, token.lifetime * (0.4 + 0.2 * jitter))


def may_renew(token: EcrToken, now: float) -> bool:
    """Whether a refusal may be the token's fault: one from this very minute is refused for another reason."""
    return now - token.received_at >= CALL_SPACING


def may_drop(dropped_at: float, now: float) -> bool:
    """Whether a token that the registry does not know may be given up, however new it is: once a minute, since its
    successor, unknown as well, tells that the fault is not the token's."""
    return now - dropped_at >= CALL_SPACING
