"""What is counted for the books of savings: bytes by day, upstream and repository."""

from enum import Enum
from typing import NamedTuple

DAY = 86_400  # seconds


class Account(NamedTuple):
    """Whose bytes. ``upstream`` is the key of the configuration; ``repository`` is REGISTRY/REPOSITORY, empty for what
    is not told apart."""

    upstream: str
    repository: str = ""


class ByteCount(NamedTuple):
    """Bytes of bodies: ``served`` to clients, ``fetched`` from upstream."""

    served: int = 0
    fetched: int = 0

    def plus(self, other: "ByteCount") -> "ByteCount":
        """Both together."""
        return ByteCount(self.served + other.served, self.fetched + other.fetched)


class LedgerBy(Enum):
    """How a sum over the books is divided; always by upstream besides, since prices are. Values are what people
    type."""

    UPSTREAM = "upstream"
    REPOSITORY = "repository"
    DAY = "day"
    MONTH = "month"


class LedgerRow(NamedTuple):
    """One sum. ``day`` in days since the epoch, UTC, is 0 where days are summed; ``repository`` likewise empty."""

    day: int
    account: Account
    moved: ByteCount


class CountedTime(NamedTuple):
    """``days`` on which was counted, in order, days since the epoch; the books were ``began`` at a moment of theirs or
    before, and are read ``now``, both in seconds since the epoch."""

    days: tuple[int, ...]
    began: float
    now: float


def day_of(at: float) -> int:
    """``at`` in seconds since the epoch."""
    return int(at // DAY)
