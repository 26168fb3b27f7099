"""The clocks of the house: its own, and the machine's."""

import time
from collections.abc import Callable


def steady_clock() -> Callable[[], float]:
    """Seconds since the epoch as the wall clock had it at the start, carried on by the monotonic clock: comparable with
    times of earlier runs, and deaf to every step of the wall clock during this one."""
    started = time.time() - time.monotonic()
    return lambda: started + time.monotonic()


def wall_clock() -> float:
    """What the machine says now, in seconds since the epoch; set by whoever sets it."""
    return time.time()
