"""Where a request goes: URLs taken apart once, strictly, so that every comparison of hosts compares the same thing.

Pure. What browsers repair (user information, backslashes, control characters, odd ports) is refused here.
"""

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from proxy.core.authorities import PORTS, shortest_authority

LONGEST = 16384  # characters of a URL; presigned ones have some 2,000

_HOST = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_-])?", re.ASCII)
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII)  # resolvers read such hosts as addresses, each in its own way
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")
_KEPT = "".join(chr(code) for code in range(0x21, 0x7F))


class Origin(NamedTuple):
    """``host`` is in lower case, IDNA-encoded, without a trailing dot; an IPv6 literal has no brackets."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """For a Host header: with the port where it is not the scheme's own."""
        return shortest_authority(*self)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


class Target(NamedTuple):
    """An origin and what is asked of it. ``str()`` leaves the query out, since it may be a signature."""

    origin: Origin
    path: str  # with the query, as sent

    @property
    def url(self) -> str:
        """As it is asked for: with the query, so not for messages."""
        return f"{self.origin}{self.path}"

    def __str__(self) -> str:
        return f"{self.origin}{self.path.partition('?')[0]}"


class TargetRefused(ValueError):
    """The sentence names no more of the URL than its fault."""


def parse_target(url: str) -> Target:
    """Raises TargetRefused for what is not a plain http or https URL."""
    if len(url) > LONGEST:
        raise TargetRefused("the URL is too long")
    if _FORBIDDEN.search(url):
        raise TargetRefused("the URL holds control characters, spaces or backslashes")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as fault:
        raise TargetRefused("the URL cannot be read") from fault
    if parts.scheme not in PORTS:
        raise TargetRefused("the URL is neither http nor https")
    if "@" in parts.netloc:
        raise TargetRefused("the URL holds user information")
    if port == 0:
        raise TargetRefused("the URL has port 0")
    origin = Origin(parts.scheme, canonical_host(parts.hostname or ""), port or PORTS[parts.scheme])
    query = f"?{parts.query}" if parts.query else ""
    return Target(origin, quote((parts.path or "/") + query, safe=_KEPT))


def canonical_host(host: str) -> str:
    """The form in which hosts are compared. Raises TargetRefused for what is neither a name nor an address."""
    host = host.lower().removesuffix(".")
    if ":" in host:
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError as fault:
            raise TargetRefused("the host is not an address") from fault
        if address.scope_id is not None:
            raise TargetRefused("the host names an interface")
        return str(address)
    try:
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError as fault:
        raise TargetRefused("the host cannot be encoded") from fault
    if len(host) > 253 or _HOST.fullmatch(host) is None:
        raise TargetRefused("the host is not a name")
    if _NUMBER.fullmatch(host.rpartition(".")[2]) and not _is_ipv4(host):
        raise TargetRefused("the host is a number and no usual address")
    return host


def _is_ipv4(host: str) -> bool:
    try:
        return str(ipaddress.IPv4Address(host)) == host
    except ValueError:
        return False


def parse_location(base: Target, location: str) -> Target:
    """The target of a Location header that ``base`` answered; relative forms are legal (RFC 9110 section 10.2.2).
    Raises TargetRefused."""
    if not location or _FORBIDDEN.search(location):
        raise TargetRefused("the Location is empty or holds control characters, spaces or backslashes")
    try:
        return parse_target(urljoin(base.url, location))
    except TargetRefused:
        raise
    except ValueError as fault:
        raise TargetRefused("the Location cannot be read") from fault
