"""What the configuration says of one upstream, and the limits on every exchange with it."""

import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple
from urllib.parse import urlsplit

from proxy.core.authorities import PORTS, parse_authority
from proxy.upstream.forwarding import Forward, Naming
from proxy.upstream.message import HostClass
from proxy.upstream.target import Origin, Target, parse_target

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class ExchangeLimits:
    """Seconds and bytes."""

    connect: float = 5.0
    first_byte: float = 60.0  # of an answer
    stall: float = 60.0  # nothing arrived
    slow_window: float = 60.0  # of waiting, over which at least ``slowest`` must arrive
    slowest: float = 32 * KIB  # bytes per second
    total: float = 120.0  # of one small exchange: manifest, tags, referrers
    token_total: float = 120.0
    manifest: int = 4 * MIB
    listing: int = 32 * MIB  # a page of tags; some registries send all at once, and names are 128 bytes at most
    referrers: int = 4 * MIB  # a page of them
    token: int = 64 * KIB
    error: int = 64 * KIB
    idle: float = 30.0  # that a connection is kept for reuse
    tries: int = 5  # of one question, while its next try begins within ``patience``
    patience: float = 20.0
    advised: float = 5.0  # seconds of a Retry-After that are waited for within a pull; longer ones are the client's


@dataclass(frozen=True, slots=True)
class Timing:
    """Time and chance. ``now`` is monotonic, ``wall`` is since the epoch, ``jitter`` gives numbers in [0, 1)."""

    now: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random


@dataclass(frozen=True)
class RegistrySettings:
    """``url`` may have a path, below which the registry's ``/v2/`` is. ``insecure`` turns verification off for the host
    and port of ``url`` only; ``ca_file`` is trusted beside the system's authorities. ``realms`` lists token servers
    that may see the credentials, ``redirects`` hosts that it may lead to wherever they are: ``host`` by its scheme's
    own port, or ``host:port``. ``egress_ca_file`` is trusted besides on ways through a proxy. With ``forward`` it is
    another one that is at ``url``, and is told whose content is meant."""

    name: str
    url: str
    ca_file: str | None = None
    insecure: bool = False
    realms: tuple[str, ...] = ()
    limits: ExchangeLimits = field(default_factory=ExchangeLimits)
    egress_ca_file: str | None = None
    redirects: tuple[str, ...] = ()
    forward: Forward | None = None

    @property
    def naming(self) -> Naming:
        return Naming(self.name, self.forward)

    def host_class(self, origin: Origin) -> HostClass:
        """By what right one is connected to that the registry led us to. Raises TargetRefused."""
        if is_same_place(origin, self.home.origin):
            return HostClass.HOME
        return HostClass.LISTED if any(_names(entry, origin) for entry in self.redirects) else HostClass.AWAY

    @cached_property
    def home(self) -> Target:
        """Raises TargetRefused."""
        target = parse_target(self.url)
        return target._replace(path=target.path.partition("?")[0].rstrip("/"))

    @cached_property
    def names_port(self) -> bool:
        """Whether ``url`` names its port."""
        return urlsplit(self.url).port is not None


def is_same_place(one: Origin, other: Origin) -> bool:
    """By host and port, whatever is spoken there."""
    return (one.host, one.port) == (other.host, other.port)


def _names(entry: str, origin: Origin) -> bool:
    named = parse_authority(entry)
    return named.host == origin.host and origin.port == (named.port or PORTS[origin.scheme])


class Trust(NamedTuple):
    """Whose certificates are believed, on straight ways and on those through a proxy, which itself is one of the
    others."""

    home: ssl.SSLContext
    others: ssl.SSLContext
    proxied_home: ssl.SSLContext
    proxied_others: ssl.SSLContext


class Trusts:
    """One TLS context for all upstreams that trust alike: each costs some 20 ms of CPU and a megabyte."""

    def __init__(self) -> None:
        self._made: dict[tuple[str | None, str | None, bool], Trust] = {}

    def of(self, settings: RegistrySettings) -> Trust:
        """Raises OSError or ssl.SSLError for a file of authorities that cannot be read."""
        key = settings.ca_file, settings.egress_ca_file, settings.insecure
        if key not in self._made:
            self._made[key] = trust_of(settings)
        return self._made[key]


def trust_of(settings: RegistrySettings) -> Trust:
    """Raises OSError or ssl.SSLError for a file of authorities that cannot be read."""
    straight = _contexts(settings.insecure, [settings.ca_file])
    if settings.egress_ca_file is None:
        return Trust(*straight, *straight)
    return Trust(*straight, *_contexts(settings.insecure, [settings.ca_file, settings.egress_ca_file]))


def _contexts(insecure: bool, ca_files: Sequence[str | None]) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For the registry itself and for others."""
    others = _verifying(ca_files)
    if not insecure:
        return others, others
    home = _verifying(ca_files)
    home.check_hostname = False
    home.verify_mode = ssl.CERT_NONE
    return home, others


def _verifying(ca_files: Sequence[str | None]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for ca_file in ca_files:
        if ca_file is not None:
            context.load_verify_locations(ca_file)
    return context
