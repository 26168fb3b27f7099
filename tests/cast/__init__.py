"""The cast: a registry that misbehaves as it is told, and a clock that stands still.

Where a scripted one is not enough: ``registry`` is Debian's docker-registry, ``aws`` the Amazon that moto plays with
ECR before it, ``tokens`` a token server with real signatures, ``authority`` one for certificates. They are imported by
name, since each brings libraries of its own.
"""

from tests.cast import roles
from tests.cast.clock import ManualClock
from tests.cast.forward_proxy import ForwardProxy
from tests.cast.guard import Guard
from tests.cast.line import Act, Line, Seen
from tests.cast.upstream import FaultUpstream

__all__ = ["Act", "FaultUpstream", "ForwardProxy", "Guard", "Line", "ManualClock", "Seen", "roles"]
