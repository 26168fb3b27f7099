"""Who gets the next place, where several share a number of them. Pure: counts only.

The rule is a dynamic threshold, as switches share memory by (Choudhury and Hahne, "Dynamic queue length thresholds for
shared-memory packet switches", IEEE/ACM Transactions on Networking 6/2, 1998): nobody may hold more places than are
free. So one alone has half of them, the next half of what is left, and so on; whoever comes new finds one at once,
though nothing is set aside for anybody.
"""

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class FairShares(Generic[K]):
    """Of places, by whoever holds them. One alone may have ``most`` of them, and all together twice as many."""

    def __init__(self, most: int) -> None:
        self.free = 2 * most
        self._held: Counter[K] = Counter()

    def admits(self, key: K) -> bool:
        """May it have one more now?"""
        return self._held[key] < self.free

    def take(self, key: K) -> None:
        self.free -= 1
        self._held[key] += 1

    def give_back(self, key: K) -> None:
        self.free += 1
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]

    def next(self, waiting: Iterable[K]) -> K | None:
        """Whose turn it is: who holds the fewest, the first among equals. None where nobody may have one."""
        return min(filter(self.admits, waiting), key=self._held.__getitem__, default=None)
