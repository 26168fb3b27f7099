"""What a load balancer says of the client it speaks for, before the client's own first byte: the PROXY protocol
(HAProxy, "The PROXY protocol, versions 1 & 2", sections 2.1 and 2.2). Takes nothing that the text does not allow.
"""

import ipaddress
import re
from typing import NamedTuple

LONGEST = 2048  # bytes: version 2 has 52 for IPv6, and behind them a certificate's name, an endpoint's id and the like
_LONGEST_LINE = 107  # bytes of version 1
_LINE = re.compile(
    rb"PROXY (TCP4|TCP6) ([0-9a-fA-F.:]{2,39}) ([0-9a-fA-F.:]{2,39}) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n"
)
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [ -~]*)?\r\n")
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = 16  # bytes of version 2 in front of the addresses
_LOCAL, _PROXY = 0x20, 0x21  # version 2 and the command
_ADDRESSES = {0x11: 4, 0x21: 16}  # bytes of one address: TCP over IPv4, over IPv6
_UNSPECIFIED = 0x00


class ProxyHeaderInvalid(ValueError):
    """What came is no header of the PROXY protocol, and no beginning of one."""


class ProxyHeader(NamedTuple):
    """``client`` is the address it names, None where it speaks for itself, as a health check does. ``length`` bytes are
    the header's, the next is the client's."""

    client: str | None
    length: int


def parse_proxy_header(received: bytes) -> ProxyHeader | None:
    """None while only a part has come. Raises ProxyHeaderInvalid as soon as that can be no beginning of one."""
    if _begins(received, _SIGNATURE):
        return _binary(received)
    if _begins(received, b"PROXY "):
        return _line(received)
    raise ProxyHeaderInvalid("no header of the PROXY protocol")


def _begins(received: bytes, mark: bytes) -> bool:
    return received[: len(mark)] == mark[: len(received)]


def _line(received: bytes) -> ProxyHeader | None:
    end = received.find(b"\r\n", 0, _LONGEST_LINE) + 2
    if end < 2:
        if len(received) >= _LONGEST_LINE:
            raise ProxyHeaderInvalid(f"a line of more than {_LONGEST_LINE} bytes")
        return None
    line = received[:end]
    if _UNKNOWN.fullmatch(line):
        return ProxyHeader(None, end)
    found = _LINE.fullmatch(line)
    if found is None or max(int(found[4]), int(found[5])) > 65535:
        raise ProxyHeaderInvalid("not the form of version 1")
    parse = ipaddress.IPv4Address if found[1] == b"TCP4" else ipaddress.IPv6Address
    try:
        client, _ = (parse(found[at].decode("ascii")) for at in (2, 3))
    except ValueError:
        raise ProxyHeaderInvalid("not an address of its family") from None
    return ProxyHeader(str(client), end)


def _binary(received: bytes) -> ProxyHeader | None:
    if len(received) < _FIXED:
        return None
    command, family = received[12], received[13]
    end = _FIXED + int.from_bytes(received[14:16], "big")
    if command not in (_LOCAL, _PROXY) or end > LONGEST:
        raise ProxyHeaderInvalid("another version or command, or longer than anybody needs")
    if command == _PROXY and family != _UNSPECIFIED and family not in _ADDRESSES:
        raise ProxyHeaderInvalid("not TCP over IPv4 or IPv6")
    size = _ADDRESSES.get(family, 0) if command == _PROXY else 0
    if end < _FIXED + (2 * size + 4 if size else 0):
        raise ProxyHeaderInvalid("too short for its addresses")
    if len(received) < end:
        return None
    client = str(ipaddress.ip_address(received[_FIXED : _FIXED + size])) if size else None
    return ProxyHeader(client, end)
