"""A memory of bounded size that forgets the oldest first."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """``limit`` and the sizes given to ``put`` are in bytes. Entries are forgotten one by one in the order they came:
    uses are not noted, so that ``get`` costs what a dictionary's costs, without a frame of its own."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[K, V] = OrderedDict()
        self._sizes: dict[K, int] = {}
        self._total = 0
        self.get: Callable[[K], V | None] = self._values.get

    def __len__(self) -> int:
        return len(self._values)

    @property
    def total(self) -> int:
        """Bytes of all that is kept."""
        return self._total

    def put(self, key: K, value: V, size: int) -> list[V]:
        """Returns what was forgotten for it, its own former value included; itself where it is larger than the
        limit."""
        forgotten = []
        if key in self._values:
            forgotten.append(self._values.pop(key))
            self._total -= self._sizes.pop(key)
        self._values[key] = value
        self._sizes[key] = size
        self._total += size
        while self._total > self._limit:
            oldest, value = self._values.popitem(last=False)
            self._total -= self._sizes.pop(oldest)
            forgotten.append(value)
        return forgotten
