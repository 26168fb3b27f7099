"""Whether something may have changed since it was found out, without asking again."""

from collections.abc import Hashable

_PLACES = 1 << 14


class Generations:
    """While the epoch of a key stays, what was found out about it holds. Keys share a bounded number of places: the
    change of one may be taken for that of another, and none is missed. Generations only grow, so the sum of several
    stays only while each of them does."""

    def __init__(self) -> None:
        self.at = [0] * _PLACES  # by place

    def place(self, key: Hashable) -> int:
        return hash(key) % _PLACES

    def of(self, key: Hashable) -> int:
        return self.at[self.place(key)]

    def advance(self, key: Hashable) -> None:
        """Something about it has changed."""
        self.at[self.place(key)] += 1
