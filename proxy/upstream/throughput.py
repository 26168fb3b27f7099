"""Is a transfer too slow to go on? Pure: time spent waiting is an argument."""


class Throughput:
    """Counts what arrived over spells of ``window`` seconds of waiting. Time in which nobody waited for the upstream
    is not the upstream's and does not count."""

    def __init__(self, window: float, slowest: float) -> None:
        self._window = window  # seconds
        self._slowest = slowest  # bytes per second
        self._arrived = 0
        self._waited = 0.0

    def fell_short(self, count: int, waited: float) -> bool:
        """After ``count`` bytes that took ``waited`` seconds: did the spell that ends here bring too little?"""
        self._arrived += count
        self._waited += waited
        if self._waited < self._window:
            return False
        short = self._arrived < self._slowest * self._waited
        self._arrived, self._waited = 0, 0.0
        return short
