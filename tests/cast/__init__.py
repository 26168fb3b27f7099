"""The cast: a registry that misbehaves as it is told, and a clock that stands still."""

from tests.cast.clock import ManualClock
from tests.cast.guard import Guard
from tests.cast.line import Line, Seen
from tests.cast.upstream import FaultUpstream

__all__ = ["FaultUpstream", "Guard", "Line", "ManualClock", "Seen"]
