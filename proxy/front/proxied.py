"""Connections of load balancers that say whom they speak for: the PROXY protocol in front of HTTP.

Whether a connection begins so is known by its address and never guessed ("The PROXY protocol", section 2): from a
trusted network a header must come, and nobody else's is taken for one.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import cast

from proxy.core.proxy_header import ProxyHeaderInvalid, parse_proxy_header
from proxy.front.connection import Front

log = logging.getLogger("entrepot.front")

Networks = Sequence[IPv4Network | IPv6Network]


Inner = Callable[[str], asyncio.Protocol]
"""Makes the protocol of a connection whose client has this address; an empty one is the peer's own."""


def entrance(front: Front, inner: Inner, trusted: Networks) -> Callable[[], asyncio.Protocol]:
    """The factory of a listener's protocols; ``trusted`` are the networks of load balancers."""
    return partial(Entrance, front, inner, trusted) if trusted else partial(inner, "")


class Entrance(asyncio.Protocol):
    """Stands in a connection's place until it is known whose it is. It has a place of its own until then."""

    __slots__ = ("_address", "_front", "_inner", "_received", "_since", "_transport", "_trusted")

    _transport: asyncio.Transport

    def __init__(self, front: Front, inner: Inner, trusted: Networks) -> None:
        self._front = front
        self._inner = inner
        self._trusted = trusted
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if isinstance(peer, tuple) else ""
        front = self._front
        if not _within(self._address, self._trusted):
            self._hand_over(self._address, b"")
        elif not front.enter(self, self._address):
            transport.close()
        else:
            self._since = front.now()

    def data_received(self, data: bytes) -> None:
        """Of the header, and what follows it."""
        self._received += data
        try:
            header = parse_proxy_header(self._received)
        except ProxyHeaderInvalid as invalid:
            log.info("a connection of the trusted proxy %s is refused: %s", self._address, invalid)
            self._transport.abort()
            return
        if header is not None:
            self._front.leave(self, self._address)
            self._hand_over(header.client or self._address, self._received[header.length :])

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.leave(self, self._address)

    def look(self, now: float) -> None:
        """Ends it where its header does not come."""
        if self._since + self._front.rules.header_timeout < now:
            self._transport.abort()

    def rest(self) -> None:
        """Ends it: nothing is under way."""
        self._transport.close()

    def abort(self) -> None:
        """Ends it as it is."""
        self._transport.abort()

    def _hand_over(self, address: str, received: bytes) -> None:
        connection = self._inner(address)
        self._transport.set_protocol(connection)
        connection.connection_made(self._transport)
        if received:
            connection.data_received(received)


def _within(address: str, networks: Networks) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in networks)
