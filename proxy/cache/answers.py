"""What the cache answers, with how it came by it."""

from enum import Enum
from typing import NamedTuple

from proxy.cache.body import Body
from proxy.core.names import Digest
from proxy.core.second_hand import Remarks, SecondHand


class Outcome(Enum):
    """Values are those of the metrics' outcome label."""

    HIT = "hit"  # held, nobody asked
    STALE = "stale"  # held, upstream did not answer
    OFFLINE = "offline"  # held, and upstream is not to be asked
    REVALIDATED = "revalidated"  # held, upstream confirmed it
    MISS = "miss"  # fetched for this request, and kept
    COLLAPSED = "collapsed"  # fetched for another request meanwhile
    BYPASS = "bypass"  # passed through, not kept


class ManifestAnswer(NamedTuple):
    digest: Digest
    media_type: str
    raw: bytes
    outcome: Outcome
    age: float | None = None  # seconds since upstream was asked; of stale answers, and of tags along a row of caches
    warning: str = ""  # why it is stale, for the client
    quota: tuple[tuple[str, str], ...] = ()  # headers of upstream, about what may still be asked

    def with_remarks(self, remarks: Remarks) -> "ManifestAnswer":
        """As upstream gave it: where it did not ask the registry itself, that is passed on."""
        told = remarks.second_hand
        if told is None:
            return self._replace(age=remarks.age or None, quota=remarks.quota)
        return self._replace(outcome=outcome_of(told), age=told.age, warning=told.warning, quota=remarks.quota)


class BlobAnswer(NamedTuple):
    body: Body
    size: int | None  # bytes, None while nobody knows
    outcome: Outcome


class SizeAnswer(NamedTuple):
    """Of a HEAD."""

    size: int | None
    outcome: Outcome


def outcome_of(told: SecondHand) -> Outcome:
    """What a cache upstream has told is told on."""
    return Outcome.OFFLINE if told.offline else Outcome.STALE
