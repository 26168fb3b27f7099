"""Who asks and what he may do, and how far upstream's word on who may have what still carries.

One gate stands before every answer, on the fast path and on the full path alike, and so before every join of a flight
or a fill: whoever waits for what somebody else began has been admitted himself.
"""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from proxy.core.credentials import ClientLogin
from proxy.core.errors import Absent, BlobUnknown, ManifestUnknown, NameUnknown, RouteUnknown
from proxy.core.names import Digest
from proxy.core.operations import (
    BlobPull,
    CatalogList,
    ManifestPull,
    Operation,
    Ping,
    ReferrersList,
    TagList,
    TokenGrant,
)


@dataclass(frozen=True, slots=True, eq=False)
class Caller:
    """Whoever sent a request, as far as he has proven it. Known by his identity: what is remembered of him hangs on
    this object."""

    name: str  # empty for whoever has not said who he is
    groups: frozenset[str] = frozenset()
    until: float = math.inf  # seconds since the epoch, when what he has proven ends
    ground: str = ""  # what he has proven it by, in the words of a token of ours; empty for whoever sent no proof
    login: ClientLogin | None = None  # what he has sent for a registry, which alone can tell whether it is right
    scope: bytes = b""  # what stands for that login in memory; empty for none


ANONYMOUS = Caller("")


class Admission(Enum):
    ADMITTED = "admitted"
    MEASURED = "measured"  # admitted, at a rate of his own
    HIDDEN = "hidden"  # to be told that there is nothing
    CHALLENGED = "challenged"  # to be asked who he is
    UNDECIDED = "undecided"  # upstream is to be asked first, with what he has sent for it


ADMITTED = Admission.ADMITTED  # looked at for every hit, where an attribute of an enumeration is dear

LET_IN = frozenset({Admission.ADMITTED, Admission.MEASURED})


class Gate(Protocol):
    """Asked anew for each request, also for one whose reply is in memory: it must decide from memory."""

    def admit(self, caller: Caller, operation: Operation) -> Admission:
        """Never waits and never raises."""


def hidden(operation: Operation) -> Absent:
    """What somebody is told who may not know whether it is there: that it is not, as for what upstream has not."""
    match operation:
        case ManifestPull(repository=repository, reference=reference):
            mark = "@" if isinstance(reference, Digest) else ":"
            return ManifestUnknown(f"{repository.upstream} does not have {repository.name}{mark}{reference}")
        case BlobPull(repository=repository, digest=digest):
            return BlobUnknown(f"{repository.upstream} does not have {repository.name}@{digest}")
        case TagList(repository=repository) | ReferrersList(repository=repository):
            return NameUnknown(f"{repository.upstream} does not have {repository.name}")
        case Ping():
            return RouteUnknown("/v2/")
        case CatalogList():
            return RouteUnknown("/v2/_catalog")
        case TokenGrant():
            return RouteUnknown("/token")


class Right(Enum):
    """Of a repository's readers to content that is held for it."""

    SURE = "sure"  # serve
    OLD = "old"  # serve, and ask upstream again behind the answer
    UNPROVEN = "unproven"  # ask first; serve while upstream does not answer
    WITHDRAWN = "withdrawn"  # ask first; only a yes serves it


@dataclass(frozen=True, slots=True)
class Word:
    """What upstream said, in seconds since the epoch; None while it never did. It is given for one digest of a
    repository, and each is one of the whole repository too."""

    confirmed_at: float | None  # yes, to this digest
    renewed_at: float | None  # yes, to anything of the repository
    refused_at: float | None  # no, to all of the repository, and no yes since

    def right(self, now: float, ttl: float) -> Right:
        """``ttl`` in seconds. A yes in the future is one of a clock that was wrong."""
        if self.refused_at is not None:
            return Right.WITHDRAWN
        if self.confirmed_at is None:
            return Right.UNPROVEN
        last = max(self.confirmed_at, self.renewed_at or 0.0)
        return Right.SURE if abs(now - last) <= ttl else Right.OLD

    def sure_until(self, ttl: float) -> float:
        """Seconds since the epoch, of what is sure."""
        return max(self.confirmed_at or 0.0, self.renewed_at or 0.0) + ttl
