"""The storage is looked after while it is in use: what vanished is made again, what could not be written is tried
again, what lies beside the books is measured.
"""

import logging
from collections.abc import Callable
from contextlib import suppress

from proxy.cache.holdings import Holdings
from proxy.core.backoff import Backoff
from proxy.core.errors import NoSpace, StoreFailed
from proxy.tasks.jobs import Work
from proxy.tasks.off_loop import off_loop

log = logging.getLogger("entrepot.upkeep")


def forgiving(work: Work) -> Work:
    """The same; a storage that fails has told so itself, and is tried again the next time."""

    async def run() -> None:
        with suppress(NoSpace, StoreFailed):
            await work()

    return run


LOOKED_AT_EVERY = 1.0  # seconds
_TENDED_EVERY = 10.0
_SICK = Backoff(LOOKED_AT_EVERY, _TENDED_EVERY)


class Upkeep:
    """``flush_tags`` writes what is known of tags in memory only; ``look_for_room`` whether the disk has any."""

    def __init__(self, holdings: Holdings, flush_tags: Work, look_for_room: Work) -> None:
        self._waited = 0.0
        self._tries = 0  # since storage is sick
        self._holdings = holdings
        self._flush_tags = flush_tags
        self._look_for_room = look_for_room

    async def look(self, is_sick: Callable[[], object]) -> None:
        """Once a second: a round every ten, and sooner while storage ``is_sick``, so that what passes soon is over
        soon."""
        self._waited += LOOKED_AT_EVERY
        self._tries = self._tries if is_sick() else 0
        if self._waited >= (_SICK.pause(self._tries) if is_sick() else _TENDED_EVERY):
            self._waited, self._tries = 0.0, self._tries + 1
            await self.tend()

    async def tend(self) -> None:
        """One round; a step that fails keeps none from its turn."""
        store, catalog = self._recover_store, self._holdings.catalog.recover
        for step in (store, catalog, self._flush_tags, self._clear, self._measure, self._look_for_room):
            await forgiving(step)()

    async def _recover_store(self) -> None:
        await off_loop(self._holdings.threads.behind, self._holdings.store.recover)

    async def _clear(self) -> None:
        if self._holdings.has_leftovers():
            await self._holdings.clear_tombstones()

    async def _measure(self) -> None:
        await self._holdings.measure()
