"""How far upstream's word on who may have what still carries. It is given for one digest of a repository, and each is
one of the whole repository too."""

from dataclasses import dataclass
from enum import Enum


class Right(Enum):
    """Of a repository's readers to content that is held for it."""

    SURE = "sure"  # serve
    OLD = "old"  # serve, and ask upstream again behind the answer
    UNPROVEN = "unproven"  # ask first; serve while upstream does not answer
    WITHDRAWN = "withdrawn"  # ask first; only a yes serves it


@dataclass(frozen=True, slots=True)
class Word:
    """What upstream said, in seconds since the epoch; None while it never did."""

    confirmed_at: float | None  # yes, to this digest
    renewed_at: float | None  # yes, to anything of the repository
    refused_at: float | None  # no, to all of the repository, and no yes since

    def right(self, now: float, ttl: float) -> Right:
        """``ttl`` in seconds. A yes in the future is one of a clock that was wrong."""
        if self.refused_at is not None:
            return Right.WITHDRAWN
        if self.confirmed_at is None:
            return Right.UNPROVEN
        return Right.SURE if abs(now - self._last(self.confirmed_at)) <= ttl else Right.OLD

    def sure_until(self, ttl: float) -> float:
        """Seconds since the epoch, of what is sure."""
        return self._last(self.confirmed_at or 0.0) + ttl

    def _last(self, confirmed_at: float) -> float:
        return max(confirmed_at, self.renewed_at or 0.0)
