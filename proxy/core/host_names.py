"""By which names a listener may be asked.

A page in somebody's browser may make its own name point at a listener that only this machine can reach (DNS rebinding),
and is then of the same origin as its answers. All that tells such a request is the name in its Host header.
"""

import ipaddress
from dataclasses import dataclass

from proxy.core.authorities import parse_authority
from proxy.core.errors import HostUnknown

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class HostNames:
    """``names`` are in lower case, addresses in their usual form without brackets. With ``any_address`` every address
    is right, since a listener does not know by which it is reached, and no page can have one for its own name."""

    names: frozenset[str]
    any_address: bool

    @classmethod
    def of(cls, listen: str, names: tuple[str, ...], any_address: bool) -> "HostNames":
        """Of a listener on the host ``listen``: its own, those of this machine, and ``names``."""
        return cls(_LOOPBACK | {_address(listen) or listen.lower(), *names}, any_address)

    def require(self, host: str) -> None:
        """For the value of a Host header; an empty one is let through, since no browser sends that. The port is not
        looked at: tunnels and port mappings change it, and a page has nothing from it. Raises HostUnknown."""
        if not host:
            return
        try:
            name = parse_authority(host).host.lower()
        except ValueError:
            raise HostUnknown(host) from None
        address = _address(name)
        if (address or name) not in self.names and not (self.any_address and address):
            raise HostUnknown(host)


def _address(name: str) -> str:
    """The usual form of an address; empty for a name."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return ""
