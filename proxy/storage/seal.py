"""What the modification time of a committed file says: that nobody wrote to it since, and when its bytes were last
proven.

The whole second is one that no clock gives today, so whoever writes to the file afterwards breaks the seal, and that
shows at no cost when the file is opened. Its nanoseconds count the moment of the last proof in steps of 4 seconds. A
file system that keeps coarser times tells an earlier moment, and the bytes are then proven sooner than they need be.
"""

_SECOND = 1_000_000_000
_NANOSECONDS = 1_000_000_000
_STEP = 4.0  # seconds; good until the year 2096


def seal(proven_at: float) -> int:
    """The modification time, in nanoseconds, of bytes proven then; ``proven_at`` in seconds since the epoch."""
    steps = min(max(int(proven_at / _STEP), 0), _NANOSECONDS - 1)
    return _SECOND * _NANOSECONDS + steps


def proven_at(modified: int) -> float | None:
    """Seconds since the epoch; None where the seal is broken."""
    second, steps = divmod(modified, _NANOSECONDS)
    return steps * _STEP if second == _SECOND else None
