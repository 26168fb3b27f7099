"""Whom a listener lets in: by the name that it is asked by, and by how many have come from the same place.

A page in somebody's browser may make its own name point at a listener that only this machine can reach (DNS rebinding),
and is then of the same origin as its answers. All that tells such a request is the name in its Host header.

Whoever holds many connections may hold many addresses too. So places are counted by network: an IPv4 address, or
the /64 of an IPv6 address, all of whose addresses are one host's for the asking (RFC 6177, RFC 7934).
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import NamedTuple

from proxy.core.errors import HostUnknown

_PORT = re.compile(r":[0-9]{1,5}\Z")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class HostNames:
    """``names`` are in lower case, addresses in their usual form, IPv6 in brackets. With ``any_address`` every address
    is right, since a listener does not know by which it is reached, and no page can have one for its own name."""

    names: frozenset[str]
    any_address: bool

    @classmethod
    def of(cls, listen: str, names: tuple[str, ...], any_address: bool) -> "HostNames":
        """Of a listener on the host ``listen``: its own, those of this machine, and ``names``, without brackets."""
        return cls(frozenset(_usual(name) or name.lower() for name in (*_LOOPBACK, listen, *names)), any_address)

    def require(self, host: str) -> None:
        """For the value of a Host header; an empty one is let through, since no browser sends that. The port is not
        looked at: tunnels and port mappings change it, and a page has nothing from it. Raises HostUnknown."""
        name = _PORT.sub("", host.lower())
        if not host or name in self.names:
            return
        address = _usual(name[1:-1]) if name[:1] + name[-1:] == "[]" else _usual(name)
        if address not in self.names and not (self.any_address and address):
            raise HostUnknown(host)


def _usual(name: str) -> str:
    """An address as it is compared; empty for a name."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return ""
    return f"[{address}]" if address.version == 6 else str(address)


class PlaceRules(NamedTuple):
    """``most`` places in all, ``per_network`` of them for one network."""

    most: int
    per_network: int

    def share(self, taken: int) -> int:
        """How many places one network may hold while ``taken`` are taken by all: fewer as they run short, so that some
        are left for a network that has none however many others want all they can get (dynamic thresholds; Choudhury
        and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998). It begins to fall at half; who is alone may hold two
        thirds where ``per_network`` allows as much."""
        free = self.most - taken
        return min(self.per_network, -(-2 * self.per_network * free // self.most))


def network_of(address: str) -> str:
    """By what the places of an IPv6 address are counted. Any other stands for itself."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found, 64), strict=False))
