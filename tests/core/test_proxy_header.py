"""The PROXY protocol as its text has it, and nothing else; in however many pieces it comes."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.proxy_header import LONGEST, ProxyHeaderInvalid, parse_proxy_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def binary(command: int, family: int, addresses: bytes) -> bytes:
    return SIGNATURE + bytes((command, family)) + len(addresses).to_bytes(2, "big") + addresses


def packed(*addresses: str) -> bytes:
    return b"".join(ipaddress.ip_address(each).packed for each in addresses) + bytes(4)


FOUR, SIX = packed("192.0.2.7", "192.0.2.1"), packed("2001:db8::7", "2001:db8::1")
GOOD = {
    "version 1, IPv4": (b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n", "192.0.2.7"),
    "version 1, IPv6": (b"PROXY TCP6 2001:db8::7 2001:db8::1 0 65535\r\n", "2001:db8::7"),
    "version 1, unknown": (b"PROXY UNKNOWN\r\n", None),
    "version 1, unknown with more": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
    "version 2, IPv4": (binary(0x21, 0x11, FOUR), "192.0.2.7"),
    "version 2, IPv6": (binary(0x21, 0x21, SIX), "2001:db8::7"),
    "version 2, extensions": (binary(0x21, 0x11, FOUR + b"\xea\x00\x05\x01vpce"), "192.0.2.7"),
    "version 2, a health check": (binary(0x20, 0x00, b""), None),
    "version 2, a health check with addresses": (binary(0x20, 0x11, FOUR), None),
    "version 2, unspecified": (binary(0x21, 0x00, b""), None),
}
BAD = {
    "nothing of it": b"GET /v2/ HTTP/1.1\r\n\r\n",
    "an empty line": b"\r\n\r\nGET",
    "small letters": b"proxy TCP4 192.0.2.7 192.0.2.1 1 2\r\n",
    "another family": b"PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n",
    "IPv6 as IPv4": b"PROXY TCP4 ::1 ::1 1 2\r\n",
    "IPv4 as IPv6": b"PROXY TCP6 192.0.2.7 192.0.2.1 1 2\r\n",
    "a leading zero": b"PROXY TCP4 192.0.2.07 192.0.2.1 1 2\r\n",
    "a port with a leading zero": b"PROXY TCP4 192.0.2.7 192.0.2.1 01 2\r\n",
    "a port too large": b"PROXY TCP4 192.0.2.7 192.0.2.1 1 65536\r\n",
    "two spaces": b"PROXY TCP4  192.0.2.7 192.0.2.1 1 2\r\n",
    "a scope": b"PROXY TCP6 fe80::1%1 fe80::2 1 2\r\n",
    "one address": b"PROXY TCP4 192.0.2.7 1 2\r\n",
    "a name": b"PROXY TCP4 localhost localhost 1 2\r\n",
    "a bare line end": b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n" + b" " * 107,
    "an endless line": b"PROXY UNKNOWN " + b"a" * 200,
    "a control character": b"PROXY UNKNOWN \x1b[31m\r\n",
    "version 3": binary(0x31, 0x11, FOUR),
    "another command": binary(0x22, 0x11, FOUR),
    "a datagram": binary(0x21, 0x12, FOUR),
    "a Unix socket": binary(0x21, 0x31, bytes(216)),
    "too short for IPv4": binary(0x21, 0x11, FOUR[:-1]),
    "too short for IPv6": binary(0x21, 0x21, FOUR),
    "too long": binary(0x21, 0x11, FOUR + bytes(LONGEST)),
}


@pytest.mark.parametrize(("header", "client"), GOOD.values(), ids=GOOD.keys())
def test_it_names_the_client_and_ends_where_it_says(header: bytes, client: str | None) -> None:
    assert parse_proxy_header(header + b"GET / HTTP/1.1\r\n") == (client, len(header))
    for part in range(len(header)):
        assert parse_proxy_header(header[:part]) is None


@pytest.mark.parametrize("received", BAD.values(), ids=BAD.keys())
def test_anything_else_is_refused(received: bytes) -> None:
    with pytest.raises(ProxyHeaderInvalid):
        parse_proxy_header(received)


@given(st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]), st.binary(max_size=300))
def test_whatever_comes_is_a_header_or_a_part_or_none(mark: bytes, rest: bytes) -> None:
    try:
        found = parse_proxy_header(mark + rest)
    except ProxyHeaderInvalid:
        return
    if found is None:
        assert len(mark + rest) < LONGEST
    else:
        assert 0 < found.length <= len(mark + rest)
