"""What is said again and again is said seldom."""

from proxy.core.tables import BoundedTable

_LIMIT = 64 << 10  # bytes; what is forgotten may be said again


class Seldom:
    """Which sentences are due: each at most once in ``period`` seconds. Not to be shared by threads."""

    def __init__(self, period: float = 60.0) -> None:
        self._period = period
        self._said: BoundedTable[str, float] = BoundedTable(_LIMIT)

    def due(self, what: str, now: float) -> bool:
        """May it be said at ``now``, in seconds of any clock that only goes on? Then it counts as said."""
        said = self._said.get(what)
        if said is not None and now - said < self._period:
            return False
        self._said.put(what, now)
        return True
