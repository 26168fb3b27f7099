"""How long the answer to a failed login waits. Pure.

Whoever guesses is slowed, and nobody is shut out: the answer comes after a second at most, and a right login is
answered at once, also from an address that others fail from.
"""

_FIRST = 0.05  # seconds
_LONGEST = 1.0
FORGOTTEN = 60.0
"""Seconds without a failure after which the next one counts as the first."""


def pause(failures: int) -> float:
    """Seconds, for the given number of failures in a row from one address, this one included."""
    return min(_LONGEST, _FIRST * 2.0 ** min(failures - 1, 10))
