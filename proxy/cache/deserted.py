"""The fills that nobody reads: they go on while that may be of use to the next who asks, and give way where they are in
the way."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from proxy.cache.fill import Fill
from proxy.core.desertion import DesertionRules
from proxy.tasks.places import Places

log = logging.getLogger("entrepot.fill")


class Deserted:
    """``places`` are those of all fills, ``most`` for one upstream; ``drop`` ends a fill."""

    def __init__(self, rules: DesertionRules, most: int, drop: Callable[[Fill], None]) -> None:
        self.places = Places(most, self._make_way)
        self._rules = rules
        self._drop = drop
        self._timers: dict[Fill, asyncio.TimerHandle] = {}
        self.slow: set[Fill] = set()  # to be dropped when their places are wanted
        self._going: set[Fill] = set()  # dropped, and their places still to be given back

    def add(self, fill: Fill) -> None:
        """Its last reader left, or it begins before its first one has come."""
        self._look_later(fill, asyncio.get_running_loop().time())

    def ended(self, fill: Fill) -> None:
        """However it ended: its place is free."""
        self._stop_timer(fill)
        self.slow.discard(fill)
        self._going.discard(fill)

    def _look_later(self, fill: Fill, left: float) -> None:
        self._stop_timer(fill)
        loop = asyncio.get_running_loop()
        look = partial(self._look, fill, left, fill.received, loop.time())
        self._timers[fill] = loop.call_later(self._rules.window, look)

    def _look(self, fill: Fill, left: float, before: int, since: float) -> None:
        """At one that its last reader ``left``, and at what came of it ``since``."""
        self.slow.discard(fill)
        if not fill.deserted:
            return
        now = asyncio.get_running_loop().time()
        slow = self._rules.slow(fill.received - before, now - since)
        worth = self._rules.worth_finishing(fill.size, fill.received)
        if now - left >= self._rules.linger and (slow or not worth):
            self._end(fill)
            return
        self._look_later(fill, left)
        if slow:
            self.slow.add(fill)
            self._make_way()

    def _end(self, fill: Fill) -> None:
        log.info("%s of %s: nobody reads it any more, dropped at %d bytes", fill.digest, fill.repository, fill.received)
        self._going.add(fill)
        self._drop(fill)

    def _make_way(self) -> None:
        """Somebody waits for a place: so many of those that are slow are dropped as are wanted."""
        while self.slow and self.places.wanted > len(self._going):
            fill = self.slow.pop()
            if fill.deserted:
                self._end(fill)

    def _stop_timer(self, fill: Fill) -> None:
        if (timer := self._timers.pop(fill, None)) is not None:
            timer.cancel()
