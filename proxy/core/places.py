"""Who may take one of a bounded number of places, when whoever holds many of them may hold many addresses too.

Places are counted by network: an IPv4 address, or the /64 of an IPv6 address, all of whose addresses are one host's for
the asking (RFC 6177, RFC 7934).
"""

import ipaddress
from typing import NamedTuple


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
    """By what the places of an address are counted. What is no address stands for itself."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found, 64), strict=False))
