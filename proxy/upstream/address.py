"""Which addresses an upstream's connections may reach; asked about the final address of every connection.

A registry may redirect us and name a token server, so both could point us at our own network or at the instance
metadata service. The registry's own host is configured and may be anywhere but there; every other host must be global,
or as near as the registry itself.
"""

import ipaddress
from collections.abc import Callable
from enum import Enum

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

Admit = Callable[[str], None]
"""The policy for one class of hosts: raises AddressForbidden for an address that is not to be connected to."""

_NEVER = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # "this host": connects to loopback
        "169.254.0.0/16",  # link-local: instance metadata, task credentials
        "224.0.0.0/4",
        "255.255.255.255/32",
        "::/128",
        "fe80::/10",
        "fd00:ec2::/32",  # instance metadata over IPv6
        "ff00::/8",
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 section 2.1


class Zone(Enum):
    """Where an address is, as far as the policy cares."""

    GLOBAL = "global"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    NEVER = "never"


class AddressForbidden(OSError):
    """The policy forbids this connection."""


def zone_of(text: str) -> Zone:
    """Of an IP address in its usual form; anything else is NEVER."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return Zone.NEVER
    if isinstance(address, ipaddress.IPv6Address):
        address = _unwrapped(address)
    if any(address in network for network in _NEVER if network.version == address.version):
        return Zone.NEVER
    if address.is_loopback:
        return Zone.LOOPBACK
    return Zone.GLOBAL if address.is_global else Zone.PRIVATE


def _unwrapped(address: ipaddress.IPv6Address) -> Address:
    """The IPv4 address that an IPv6 form of it reaches."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour or address


class AddressPolicy:
    """Where one registry lives, as its own connections found it; other hosts may be there too, or global."""

    def __init__(self) -> None:
        self._home = Zone.GLOBAL

    def admit_home(self, address: str) -> None:
        """Before a connection to a host that the configuration names. Raises AddressForbidden."""
        zone = zone_of(address)
        if zone is Zone.NEVER:
            raise AddressForbidden(f"{address} may not be reached through a registry")
        self._home = zone

    def admit_listed(self, address: str) -> None:
        """Before a connection to a token server that the configuration lists, or to the forward proxy. Raises
        AddressForbidden."""
        if zone_of(address) is Zone.NEVER:
            raise AddressForbidden(f"{address} may not be reached through a registry")

    def admit_away(self, address: str) -> None:
        """Before a connection to any other host. Raises AddressForbidden."""
        zone = zone_of(address)
        if zone is Zone.NEVER or zone not in (Zone.GLOBAL, self._home):
            raise AddressForbidden(f"{address} is not a public address, and the registry is not there either")


def admit_unseen(host: str, admit: Admit) -> None:
    """Before a proxy is asked for ``host``, which is not looked up here: what its text says of where it is. Raises
    AddressForbidden."""
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761 section 6.3
        admit("127.0.0.1")
        return
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return
    admit(host)
