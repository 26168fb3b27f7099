"""What is said again and again is said seldom."""

_MOST = 1000


class Seldom:
    """Which sentences are due: each at most once in ``period`` seconds."""

    def __init__(self, period: float = 60.0) -> None:
        self._period = period
        self._said: dict[str, float] = {}

    def due(self, what: str, now: float) -> bool:
        """May it be said at ``now``, in seconds of any clock that only goes on? Then it counts as said."""
        said = self._said.get(what)
        if said is not None and now - said < self._period:
            return False
        if len(self._said) >= _MOST:
            self._said.clear()
        self._said[what] = now
        return True
