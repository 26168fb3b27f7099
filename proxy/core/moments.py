"""Points in time as people write them."""

import math
from datetime import datetime


def parse_moment(text: str) -> float | None:
    """Epoch seconds of ISO 8601 with a zone, or of a number that is epoch seconds already; None for anything else."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = _from_iso(text)
    return seconds if math.isfinite(seconds) else None


def _from_iso(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return math.nan
    return moment.timestamp() if moment.tzinfo is not None else math.nan
