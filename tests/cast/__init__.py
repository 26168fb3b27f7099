"""The cast: a registry that misbehaves as it is told, and a clock that stands still."""

from tests.cast import roles
from tests.cast.clock import ManualClock
from tests.cast.guard import Guard
from tests.cast.line import Act, Line, Seen
from tests.cast.upstream import FaultUpstream

__all__ = ["Act", "FaultUpstream", "Guard", "Line", "ManualClock", "Seen", "roles"]
