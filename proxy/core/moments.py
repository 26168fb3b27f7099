"""Points in time: as people write them, and when what is done again and again is due."""

import math
from datetime import datetime


def parse_moment(text: str) -> float | None:
    """Epoch seconds of ISO 8601 with a zone, or of a number that is epoch seconds already; None for anything else."""
    try:
        seconds = float(text)
    except ValueError:
        return parse_iso(text)
    return seconds if math.isfinite(seconds) else None


def parse_iso(text: str) -> float | None:
    """Epoch seconds of ISO 8601 with a zone; None for anything else, a bare number included."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None


def due_in(last: float, interval: float, now: float) -> float:
    """Seconds until an interval has passed since ``last``; at most the interval, since the clock may have been ahead
    when ``last`` was written down."""
    return min(interval, max(0.0, last + interval - now))
