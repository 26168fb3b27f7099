"""Bytes that are nearly what they should be, and bytes in pieces."""

import random
from collections.abc import Iterator

from hypothesis import strategies as st

ODD = [b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b";", b",", b'"', b"-", b"+", b"0", b"\x7f", b"\xff", b"\x0b"]


@st.composite
def mangled(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Cut, doubled, dropped, replaced or put in, in a few places."""
    octets = draw(whole)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(octets)))
        upto = min(at + draw(st.integers(0, 12)), len(octets))
        put = draw(st.sampled_from([*ODD, b"", octets[at:upto] * 2]) | st.binary(max_size=4))
        octets = octets[:at] + put + octets[upto:]
    return octets


def pieces_of(octets: bytes, seed: int) -> Iterator[bytes]:
    """All of them, in pieces of any size; of a long one no tiny pieces."""
    chance, start, least = random.Random(seed), 0, len(octets) // 500 + 1
    while start < len(octets):
        size = chance.choice([least, least + 1, least * 7, len(octets)])
        yield octets[start : start + size]
        start += size
