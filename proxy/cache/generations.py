"""Whether something may have changed since it was found out, without asking again."""

from collections.abc import Hashable

_PLACES = 1 << 14


class Generations:
    """While the generation of a key stays, what was found out about it holds. Keys share a bounded number of places:
    the change of one may be taken for that of another, and none is missed. Generations only grow, so the sum of several
    stays only while each of them does."""

    def __init__(self) -> None:
        self.at = [0] * _PLACES  # by place

    def place(self, key: Hashable) -> int:
        """Where its generation stands in ``at``."""
        return hash(key) % _PLACES

    def of(self, key: Hashable) -> int:
        """Its generation now."""
        return self.at[hash(key) % _PLACES]

    def advance_all(self) -> None:
        """Something about who knows what has changed."""
        self.at[:] = [generation + 1 for generation in self.at]

    def advance(self, key: Hashable) -> None:
        """Something about it has changed."""
        self.at[hash(key) % _PLACES] += 1
