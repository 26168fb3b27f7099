"""Through which caches of our kind a request has come, so that none of them is asked to wait for itself.

Each instance has a pseudonym of its own, which it puts behind those that came with a request (RFC 9110 section 7.6.3).
What other intermediaries write there is not passed on: it is nobody's business on the other side.
"""

import re

from proxy.core.errors import LoopDetected

Hops = tuple[str, ...]
"""Pseudonyms, in the order in which a request has passed their instances."""

MOST_HOPS = 16
"""Caches in a circle that is found. Of more only the last count, so that whoever makes some up before a request makes
nobody refuse it further on."""
_HOP = re.compile(r"(?:^|,)[ \t]*(?:HTTP/)?1\.[01][ \t]+(entrepot-[0-9a-f]{16})(?=[ \t,(]|$)", re.ASCII | re.IGNORECASE)


def pseudonym(randomness: bytes) -> str:
    """``randomness`` are eight bytes that no other instance has."""
    return f"entrepot-{randomness.hex()}"


def hops_of(via: str) -> Hops:
    """Of the value of a Via header, the last of them."""
    return tuple(found.lower() for found in _HOP.findall(via))[-MOST_HOPS:]


def via(hops: Hops) -> str:
    """The value of a Via header."""
    return ", ".join(f"1.1 {hop}" for hop in hops)


def require_no_loop(hops: Hops, own: str) -> None:
    """Raises LoopDetected for what this instance, ``own``, has asked for itself."""
    if own in hops:
        raise LoopDetected(len(hops) - hops.index(own))
