"""What the cache answers, with how it came by it."""

from enum import Enum
from typing import NamedTuple

from proxy.cache.body import Body
from proxy.core.names import Digest


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
    age: float | None = None  # seconds since upstream was asked; of stale answers
    warning: str = ""  # why it is stale, for the client


class BlobAnswer(NamedTuple):
    body: Body
    size: int | None  # bytes, None while nobody knows
    outcome: Outcome


class SizeAnswer(NamedTuple):
    """Of a HEAD."""

    size: int | None
    outcome: Outcome
