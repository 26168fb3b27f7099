"""Who asks, and what he may do.

One gate stands before every answer, on the fast path and on the full path alike, and so before every join of a flight
or a fill: whoever waits for what somebody else began has been admitted himself.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from proxy.core.errors import Absent, BlobUnknown, ManifestUnknown, NameUnknown, RouteUnknown
from proxy.core.names import Digest
from proxy.core.operations import BlobPull, CatalogList, ManifestPull, Operation, Ping, ReferrersList, TagList


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request, as far as he has proven it. ``name`` is empty for whoever has not."""

    name: str


ANONYMOUS = Caller("")


class Admission(Enum):
    ADMITTED = "admitted"
    HIDDEN = "hidden"  # to be told that there is nothing


ADMITTED = Admission.ADMITTED  # looked at for every hit, where an attribute of an enumeration is dear


def admit(caller: Caller, operation: Operation) -> Admission:
    """Everybody may pull everything."""
    return ADMITTED


class Gate(Protocol):
    """Asked anew for each request, also for one whose reply is in memory: it must decide from memory."""

    def admit(self, caller: Caller, operation: Operation) -> Admission:
        """Never waits and never raises."""


class OpenGate:
    """Decides by ``admit`` alone."""

    admit = staticmethod(admit)


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
