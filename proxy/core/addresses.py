"""Where an IP address is, as far as it matters for who may send us there: on the internet, in some network of ours, on
this machine, or where no registry ever is.

Source: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890), as of May 2025 (RFC 9780); beside them RFC
3879 (site-local), RFC 4291 (IPv4-compatible, 2000::/3), RFC 5771 (multicast) and the metadata services of clouds.
Python's own ``is_global`` differs from version to version of Python, and knows no metadata service.
"""

import ipaddress
from collections.abc import Iterator
from enum import IntEnum

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Zone(IntEnum):
    """From the least to the most guarded."""

    GLOBAL = 0
    PRIVATE = 1  # not of the internet: somebody's own network, or set aside
    LOOPBACK = 2
    NEVER = 3  # metadata of the instance, link-local, multicast: nothing there is a registry


_ZONES = {
    Zone.LOOPBACK: ("127.0.0.0/8", "::1/128"),
    Zone.NEVER: (
        "0.0.0.0/8",  # "this host": connects to loopback
        "100.100.100.200/32",  # metadata: Alibaba Cloud
        "168.63.129.16/32",  # metadata: Azure's wire server
        "169.254.0.0/16",  # link-local: metadata of most clouds, task credentials
        "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is Oracle Cloud's metadata
        "224.0.0.0/4",
        "255.255.255.255/32",
        "::/96",  # unspecified, and IPv4-compatible
        "100::/64",  # discard-only
        "100:0:0:1::/64",  # dummy prefix
        "fd00:ec2::/32",  # metadata: AWS
        "fd20:ce::254/128",  # metadata: Google Cloud
        "fe80::/10",
        "ff00::/8",
    ),
    Zone.PRIVATE: (
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared address space
        "172.16.0.0/12",
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "240.0.0.0/4",
        "::ffff:0:0:0/96",  # IPv4-translated, RFC 2765
        "64:ff9b:1::/48",  # NAT64 of one network, RFC 8215
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "fc00::/7",
        "fec0::/10",  # site-local
    ),
    Zone.GLOBAL: ("0.0.0.0/0", "2000::/3", "64:ff9b::/96", "::ffff:0:0/96"),  # the last two as far as what they embed
}
# The longest prefix decides, as in routing. What IANA gave to nobody is not the internet.
_TABLE = sorted(
    ((ipaddress.ip_network(written), zone) for zone, all_of_it in _ZONES.items() for written in all_of_it),
    key=lambda row: -row[0].prefixlen,
)
# Where the last 32 bits are an IPv4 address: mapped, translated, NAT64 (RFC 6052 section 2.1, RFC 8215).
_ENDING_IN_IPV4 = tuple(
    map(ipaddress.IPv6Network, ("::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48"))
)
_ISATAP = 0x00005EFE  # RFC 5214 section 6.1: before the last 32 bits, whatever the two bits above it say
_ISATAP_BITS = 0xFCFFFFFF


def zone_of(text: str) -> Zone:
    """Of an IP address in its usual form, with the most guarded IPv4 address in it; anything else is NEVER."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return Zone.NEVER
    return max(map(_own_zone, (address, *_embedded(address))))


def _own_zone(address: Address) -> Zone:
    return next((zone for network, zone in _TABLE if address in network), Zone.PRIVATE)


def _embedded(address: Address) -> Iterator[ipaddress.IPv4Address]:
    """What a translator or a tunnel on the way may make of it."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    number = int(address)
    ends_in_ipv4 = any(address in network for network in _ENDING_IN_IPV4)
    if ends_in_ipv4 or (number >> 32) & _ISATAP_BITS == _ISATAP:
        yield ipaddress.IPv4Address(number & 0xFFFFFFFF)
    if address.sixtofour is not None:
        yield address.sixtofour
    yield from address.teredo or ()
