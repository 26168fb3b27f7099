"""One request to one host."""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

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
    """What one host is asked."""

    kind: Kind
    method: str
    target: Target
    headers: Mapping[str, str]
    host_class: HostClass
    total: float  # seconds that the whole exchange may take; for a blob, up to the headers
    body: bytes = b""  # only to a token server
