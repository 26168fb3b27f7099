"""Letting go of images: by rule, for space, by order. The only room that does; what it decides is ``core.graph``'s.

Never lets go what is pinned, what is being read, and what is arriving.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from proxy.cache.flights import Flights
from proxy.cache.holdings import Holdings
from proxy.cache.pins import Pins
from proxy.core.graph import Departure, Graph, Node, Parting, Seat
from proxy.core.names import Digest
from proxy.storage.contract import FIRST_SPOT, Content, Shelf, Spot

_PAGE = 8  # images looked at in one step, so that no step is long
_COMPACTED = 1 << 20  # bytes of the catalog given back in one step
_PAUSE = 0.01  # seconds between two steps, in which hits have their turn
_REST = 24.0  # times as long as the last step took: expiry is never in a hurry, and a slow disk has others to serve


@dataclass(slots=True)
class RetentionStats:
    evicted: int = 0  # contents that went for space
    evicted_bytes: int = 0
    expired: int = 0  # images that went by rule
    expired_bytes: int = 0
    purged: int = 0  # contents that went by order
    purged_bytes: int = 0


class Retention:
    """``arriving`` tells of content that a fill is bringing."""

    def __init__(
        self,
        holdings: Holdings,
        pins: Pins,
        arriving: Callable[[Digest], bool],
        owner: asyncio.TaskGroup,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.stats = RetentionStats()
        self.pins = pins
        self._holdings = holdings
        self._arriving = arriving
        self._sleep = sleep
        self._steps: Flights[object, Departure] = Flights(owner)

    async def weigh(self, seats: Sequence[Seat], parting: Parting) -> tuple[Departure, list[Seat]]:
        """What ``expire`` would do, after what has left in ``parting``, which grows by it. Changes nothing."""
        departures, stays = [], []
        for page in _pages(seats):
            graph = self._graph(await self._holdings.catalog.kin([seat.digest for seat in page]))
            departure, staying = graph.expire(page, parting)
            departures.append(departure)
            stays += staying
        return _joined(departures), stays

    async def expire(self, seats: Sequence[Seat]) -> tuple[Departure, list[Seat]]:
        """These images leave their repositories, in small steps; and those that stay."""
        departures: list[Departure] = []
        stays: list[Seat] = []
        for page in _pages(seats):

            def decide(graph: Graph, page: Sequence[Seat] = page) -> Departure:
                departure, staying = graph.expire(page)
                stays.extend(staying)
                return departure

            began = time.monotonic()
            departures.append(await self._step([seat.digest for seat in page], decide))
            await self._sleep(max(_PAUSE, _REST * (time.monotonic() - began)))
        departure = _joined(departures)
        self.stats.expired += len(departure.seats)
        self.stats.expired_bytes += departure.size
        return departure, stays

    async def evict(self, wanted: int, upstream: str | None = None) -> int:
        """Least recently used first, whole images before orphans; of one upstream if that is given. Returns the bytes
        freed, fewer than ``wanted`` where the rest is pinned or in use."""
        freed = 0

        def weighs(node: Node) -> int:
            return node.size if upstream in (None, node.upstream) else 0

        for shelf in Shelf:
            after = FIRST_SPOT
            while freed < wanted:
                page = await self._holdings.catalog.idle(shelf, after, _PAGE, upstream)
                if not page:
                    break
                departure = await self._evict(page, wanted - freed, weighs)
                freed += sum(map(weighs, departure.freed))
                after = Spot(page[-1].used_at, page[-1].digest)
        return freed

    async def _evict(self, page: Sequence[Content], wanted: int, weighs: Callable[[Node], int]) -> Departure:
        order = [content.digest for content in page]
        departure = await self._step(order, lambda graph: graph.evict(order, wanted, weighs))
        self.stats.evicted += len(departure.freed)
        self.stats.evicted_bytes += departure.size
        return departure

    async def purge(self, digest: Digest) -> Departure:
        """The content wherever it is held; nothing of it if it is pinned or in use."""
        departure = await self._step([digest], lambda graph: graph.purge(digest))
        self.stats.purged += len(departure.freed)
        self.stats.purged_bytes += departure.size
        return departure

    async def tidy(self) -> None:
        """Finishes what a failing disk interrupted, and gives the catalog's own unused space back."""
        await self._holdings.finish_leaving()
        unused = await self._holdings.catalog.compact(_COMPACTED)
        while unused >= _COMPACTED:
            await self._sleep(_PAUSE)
            before, unused = unused, await self._holdings.catalog.compact(_COMPACTED)
            if unused >= before:
                return

    async def _step(self, digests: Sequence[Digest], decide: Callable[[Graph], Departure]) -> Departure:
        """Whoever waits for it may be cancelled; the step is not."""
        step = object()
        return await self._steps.join(
            step, lambda: self._holdings.release(digests, lambda nodes: decide(self._graph(nodes)))
        )

    def _graph(self, nodes: Iterable[Node]) -> Graph:
        return Graph(nodes, self.pins.keep, self._in_use)

    def _in_use(self, digest: Digest) -> bool:
        return self._holdings.is_open(digest) or self._arriving(digest) or self.pins.names_part(digest)


def _pages(seats: Sequence[Seat]) -> Iterable[Sequence[Seat]]:
    return (seats[start : start + _PAGE] for start in range(0, len(seats), _PAGE))


def _joined(departures: Iterable[Departure]) -> Departure:
    found = list(departures)
    seats = frozenset(seat for each in found for seat in each.seats)
    return Departure(seats, tuple(node for each in found for node in each.freed))
