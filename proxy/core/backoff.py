"""How long to wait before the next try: the one rule for everything that tries again."""

from dataclasses import dataclass

_MOST_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double from ``first`` up to ``longest`` seconds. ``spread`` is the share of a pause that chance may
    take away: 1.0 is full jitter, so that many who failed together do not come again together."""

    first: float
    longest: float
    spread: float = 0.0

    def pause(self, failures: int, chance: float = 0.0) -> float:
        """Seconds before the try after ``failures`` earlier pauses in a row, from 0; ``chance`` is in [0, 1)."""
        whole = min(self.longest, self.first * 2.0 ** min(failures, _MOST_DOUBLINGS))
        return whole * (1.0 - self.spread * chance)
