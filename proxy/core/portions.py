"""All digests in portions, each small enough to be gone through in one step."""

from typing import NamedTuple


class Portion(NamedTuple):
    """The digests ``first`` <= digest < ``end``, as text."""

    first: str
    end: str


PORTIONS = [
    Portion(f"{algorithm}:{shard:02x}", f"{algorithm}:{shard:02x}g")  # behind every hexadecimal digit
    for algorithm in ("sha256", "sha512")
    for shard in range(256)
]
"""In order; one for each folder of the store."""
