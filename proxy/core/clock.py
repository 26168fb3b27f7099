"""Is the time that the clock tells to be believed? Machines without a clock of their own begin in 1970, others run
ahead until somebody sets them; what is let go by its age must not go by such a time.
"""

from enum import Enum

EARLIEST = 1_735_689_600.0
"""The beginning of 2025, in seconds since the epoch: nothing of ours is older."""
JUMP = 3600.0
"""Seconds by which two times may differ that both are to be believed."""


class Doubt(Enum):
    """Values are sentences for people."""

    NONE = ""
    EARLY = "it tells a time before Entrepot was made"
    BACK = "it tells a time more than an hour before what it told already"
    AHEAD = "it tells a time more than an hour after what it told last"
    STEPPED = "it was set by more than an hour while the process ran; a restart takes the new time"


def doubt_of(now: float, known: float | None, earliest: float = EARLIEST) -> Doubt:
    """Of the time at a start, in seconds since the epoch. ``known`` is the last that was believed, None where there was
    none yet. A process that was down for long looks like a clock that went ahead: only going on tells them apart."""
    if now < earliest:
        return Doubt.EARLY
    if known is None or abs(now - known) <= JUMP:
        return Doubt.NONE
    return Doubt.BACK if now < known else Doubt.AHEAD


def doubt_under_way(now: float, wall: float, before: Doubt) -> Doubt:
    """Of a running process: ``now`` is its own time, which no step of the wall clock moves."""
    if abs(wall - now) > JUMP:
        return Doubt.STEPPED
    return Doubt.NONE if before is Doubt.STEPPED else before
