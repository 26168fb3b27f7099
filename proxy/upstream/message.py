"""One request to one host and its answer, whoever moves the bytes."""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple, Protocol

from proxy import __version__
from proxy.upstream.target import Target

USER_AGENT = f"entrepot/{__version__}"


class Kind(Enum):
    """What is asked for; a label of the counters."""

    MANIFEST = "manifest"
    BLOB = "blob"
    TAGS = "tags"
    REFERRERS = "referrers"
    TOKEN = "token"
    PING = "ping"


class HostClass(Enum):
    """By what right a host is connected to; decides the address policy and the trust in certificates."""

    HOME = "home"  # the registry itself, by host and port
    LISTED = "listed"  # another one that the configuration lists: a token server, a home of its blobs
    AWAY = "away"  # wherever the registry sent us


class Request(NamedTuple):
    """What one host is asked, over whichever client."""

    kind: Kind
    method: str
    target: Target
    headers: Mapping[str, str]
    host_class: HostClass
    total: float  # seconds that the whole exchange may take; for a blob, up to the headers
    body: bytes = b""  # only to a token server


class Answer(Protocol):
    """Headers are in, the body is not yet."""

    status: int

    def header(self, name: str) -> str | None:
        """The first of that name."""

    def headers(self, name: str) -> list[str]:
        """All of that name."""

    async def read(self, limit: int) -> bytes:
        """The body; of a longer one the first ``limit`` + 1 bytes, which tell that it is longer.
        Raises UpstreamUnreachable, UpstreamTimeout or UpstreamBroken."""

    async def close(self) -> None:
        """Gives the connection back where the body was read to its end. Idempotent."""
