"""``host``, ``host:port`` and ``[IPv6]:port``, as in RFC 3986 section 3.2: taken apart and written in one place."""

import ipaddress
import re
from typing import NamedTuple

LARGEST_PORT = 65535
PORTS = {"http": 80, "https": 443}
"""Where a scheme is spoken unless a port is written."""

_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:/?#@\s]+))(?::([0-9]{1,5}))?")


class Authority(NamedTuple):
    """A host and, where it is written, a port."""

    host: str  # as written; IPv6 without brackets
    port: int | None

    def __str__(self) -> str:
        return format_authority(self.host, self.port)


def parse_authority(written: str) -> Authority:
    """Raises ValueError, with a sentence, for anything else; port 0 is left to the caller. The form of a name is not
    looked at, so that names beyond ASCII pass."""
    found = _AUTHORITY.fullmatch(written)
    if found is None:
        raise ValueError("write host, host:port or [IPv6]:port")
    if found[1] is not None:
        try:
            ipaddress.IPv6Address(found[1])
        except ValueError:
            raise ValueError("not an IPv6 address inside the brackets") from None
    port = int(found[3]) if found[3] is not None else None
    if port is not None and port > LARGEST_PORT:
        raise ValueError(f"a port is at most {LARGEST_PORT}")
    return Authority(found[1] or found[2], port)


def format_authority(host: str, port: int | None = None) -> str:
    """IPv6 gets its brackets."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


def shortest_authority(scheme: str, host: str, port: int) -> str:
    """As in a Host header: the port is written unless it follows from the scheme."""
    return format_authority(host, port if port != PORTS[scheme] else None)


def is_own_address(host: str) -> bool:
    """Loopback, or the address that stands for all of a machine's own."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    return address.is_loopback or address.is_unspecified
