"""Which addresses an upstream's connections may reach; asked about the final address of every connection.

A registry may redirect us and name a token server, so both could point us at our own network, at the instance metadata
service or at ourselves. The configuration names hosts, and those may be anywhere but there; every other host must be
on the internet. Only a registry on this machine may lead to others on it: what runs here reaches them by itself.
"""

import ipaddress
import socket
from collections.abc import Callable

from proxy.core.addresses import Zone, zone_of
from proxy.core.authorities import format_authority

Admit = Callable[[str, int], None]
"""The policy for one class of hosts: raises AddressForbidden for an address and port not to be connected to."""

_ANY = (ipaddress.ip_address("0.0.0.0"), ipaddress.ip_address("::"))


class AddressForbidden(OSError):
    """The policy forbids this connection."""


class LeadsHere(AddressForbidden):
    """It is one where we listen ourselves."""


class Ourselves:
    """Who this process is among its like, by ``pseudonym``, and where it listens, once it does: whoever leads there
    would have us wait for ourselves."""

    def __init__(self, pseudonym: str = "") -> None:
        self.pseudonym = pseudonym
        self._listening: set[tuple[str, int]] = set()

    def listen_at(self, address: str, port: int) -> None:
        """An IP address; 0.0.0.0 and :: stand for all of this machine."""
        self._listening.add((address, port))

    def are_at(self, address: str, port: int) -> bool:
        """Whether a connection to there would end here. Asks the kernel which addresses are its own; never blocks."""
        ends = [ipaddress.ip_address(listening) for listening, at in self._listening if at == port]
        if not ends:
            return False
        asked = _plain(ipaddress.ip_address(address))
        return asked in ends or (any(end in _ANY for end in ends) and _is_of_this_machine(asked))


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return getattr(address, "ipv4_mapped", None) or address


def _is_of_this_machine(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Towards an address of its own the kernel sends from that address. Nothing is sent here."""
    if address.is_loopback:
        return True
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return ipaddress.ip_address(probe.getsockname()[0]) == address
    except OSError:
        return False


class AddressPolicy:
    """Where one registry lives, as its own connections found it, and what that lets it lead to."""

    def __init__(self, ourselves: Ourselves | None = None) -> None:
        self._home = Zone.GLOBAL
        self._ourselves = ourselves or Ourselves()

    def admit_home(self, address: str, port: int) -> None:
        """Before a connection to the registry itself. Raises AddressForbidden."""
        self._home = self._admitted(address, port)

    def admit_listed(self, address: str, port: int) -> None:
        """Before a connection to another host that the configuration lists, or to the forward proxy. Raises
        AddressForbidden."""
        self._admitted(address, port)

    def admit_away(self, address: str, port: int) -> None:
        """Before a connection to any other host. Raises AddressForbidden."""
        zone = self._admitted(address, port)
        if zone is Zone.GLOBAL or zone is self._home is Zone.LOOPBACK:
            return
        raise AddressForbidden(f"{address} is not a public address, and neither 'redirects' nor 'realms' list its host")

    def _admitted(self, address: str, port: int) -> Zone:
        zone = zone_of(address)
        if zone is Zone.NEVER:
            raise AddressForbidden(f"{address} may not be reached through a registry")
        if self._ourselves.are_at(address, port):
            raise LeadsHere(f"{format_authority(address, port)} is Entrepot itself")
        return zone


def admit_unseen(host: str, port: int, admit: Admit) -> None:
    """Before a proxy is asked for ``host``, which is not looked up here: what its text says of where it is. Raises
    AddressForbidden."""
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761 section 6.3
        admit("127.0.0.1", port)
        return
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return
    admit(host, port)
