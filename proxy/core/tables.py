"""What is remembered about things that clients and upstreams name: whatever they name, it stays within its bytes.

What strangers name never displaces all that is known of a configured upstream: where there is too much, the upstream
that takes most gives way, and of its entries the one that was used, or in a table with a life, put longest ago.
"""

import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast, overload

from proxy.core.errors import afresh

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
D = TypeVar("D")

ENTRY: Final = 400
"""Bytes that an entry takes beside its key and its value."""
_NOTHING: Final = object()
_PLAIN: Final = (str, bytes, int, float, Enum, type)
_GATHERS: Final = (tuple, list, set, frozenset)


def weight(thing: object) -> int:
    """Bytes of a value and of all that it holds; what several hold counts for each of them."""
    total, rest = 0, [thing]
    while rest:
        each = rest.pop()
        total += sys.getsizeof(each)
        if each is None or isinstance(each, _PLAIN):
            continue
        if isinstance(each, _GATHERS):
            rest.extend(each)
        elif isinstance(each, dict):
            rest.extend(each)
            rest.extend(each.values())
        elif isinstance(each, BaseException):
            rest += each.args, each.__dict__
        elif is_dataclass(each):
            rest.extend(getattr(each, field.name) for field in fields(each))
        else:
            rest.append(getattr(each, "__dict__", None))
    return total


class _Shelved(NamedTuple):
    size: int
    until: float


class BoundedTable(Generic[K, V]):
    """``limit`` in bytes bounds ``total``, which counts keys, values and the table's own books; ``weigh`` is for values
    that hold more, or less, than can be seen. With a ``ttl``, in seconds of ``now``, an entry is gone after it.
    ``share`` names whose an entry is, by its key: one of few. An exception is kept without the frames that it came
    through. Not to be shared by threads."""

    def __init__(
        self,
        limit: int,
        ttl: float | None = None,
        now: Callable[[], float] = lambda: 0.0,
        share: Callable[[K], str] = lambda _: "",
        weigh: Callable[[V], int] = weight,
    ) -> None:
        self.limit = limit
        self.total = 0
        self._ttl = ttl
        self._now = now
        self._share = share
        self._weigh = weigh
        self._values: dict[K, V] = {}
        self._places: dict[str, OrderedDict[K, _Shelved]] = {}  # by share, the next to go first
        self._taken: dict[str, int] = {}  # bytes by share
        self.peek: Callable[[K], V | None] = self._values.get
        """Notes no use and knows no age, so it costs what a dictionary's ``get`` costs, without a frame of its own."""

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: K) -> bool:
        return key in self._values and not self._is_over(key)

    @overload
    def get(self, key: K) -> V | None: ...
    @overload
    def get(self, key: K, default: D) -> V | D: ...
    def get(self, key: K, default: object = None) -> object:
        """The value, used now; ``default`` where there is none, or none any more."""
        value: object = self._values.get(key, _NOTHING)
        if value is _NOTHING:
            return default
        if self._ttl is None:
            self._places[self._share(key)].move_to_end(key)
        elif self._is_over(key):
            self.pop(key)
            return default
        return value

    def put(self, key: K, value: V) -> list[V]:
        """Returns what was forgotten for it, its own former value included; itself where it is larger than the
        limit."""
        forgotten = [cast(V, self.pop(key))] if key in self._values else []
        kept = cast(V, afresh(value)) if isinstance(value, Exception) else value
        size = ENTRY + weight(key) + self._weigh(kept)
        if size > self.limit:
            return [*forgotten, kept]
        share = self._share(key)
        places = self._places.setdefault(share, OrderedDict())
        self._values[key] = kept
        places[key] = _Shelved(size, self._now() + self._ttl if self._ttl is not None else 0.0)
        self._taken[share] = self._taken.get(share, 0) + size
        self.total += size
        while self.total > self.limit:
            forgotten.append(self._forget_one())
        if self._ttl is not None:
            self._forget_old(places)
        return forgotten

    def pop(self, key: K) -> V | None:
        """Forgets the key; returns its value, however old."""
        if key not in self._values:
            return None
        return self._forget(key, self._share(key))

    def items(self) -> list[tuple[K, V]]:
        """All that has not gone yet."""
        return list(self._values.items())

    def _is_over(self, key: K) -> bool:
        return self._ttl is not None and self._places[self._share(key)][key].until <= self._now()

    def _forget(self, key: K, share: str) -> V:
        places = self._places[share]
        size = places.pop(key).size
        self.total -= size
        self._taken[share] -= size
        if not places:
            del self._places[share], self._taken[share]
        return self._values.pop(key)

    def _forget_one(self) -> V:
        most = max(self._taken, key=self._taken.__getitem__)
        return self._forget(next(iter(self._places[most])), most)

    def _forget_old(self, places: OrderedDict[K, _Shelved]) -> None:
        now = self._now()
        while places and places[oldest := next(iter(places))].until <= now:
            self.pop(oldest)


class Tables:
    """Makes tables, and knows all that it made by their names, which label a metric. ``label`` tells by which key of
    the configuration an upstream is there: hosts of one pattern share what a table has room for."""

    def __init__(self, now: Callable[[], float], label: Callable[[str], str] = str) -> None:
        self.made: dict[str, BoundedTable[Any, Any]] = {}
        self._now = now
        self._label = label

    def table(
        self,
        name: str,
        limit: int,
        ttl: float | None = None,
        upstream: Callable[[Any], str] | None = None,
        weigh: Callable[[Any], int] = weight,
    ) -> BoundedTable[Any, Any]:
        """The table of that name, made where there is none yet; the others are those of ``BoundedTable``. ``upstream``
        names a key's upstream."""
        if name not in self.made:
            self.made[name] = BoundedTable(limit, ttl, self._now, self._shares(upstream), weigh)
        return self.made[name]

    def _shares(self, upstream: Callable[[Any], str] | None) -> Callable[[Any], str]:
        if upstream is None:
            return lambda _: ""
        return lambda key: self._label(upstream(key))


def of_repository(key: tuple[Any, ...]) -> str:
    """The upstream of a key that begins with a repository."""
    return cast(str, key[0].upstream)


def of_upstream(key: tuple[Any, ...]) -> str:
    """The upstream of a key that begins with its name."""
    return cast(str, key[0])
