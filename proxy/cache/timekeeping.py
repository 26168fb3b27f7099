"""The time that is written down of what is held, and whether it is to be believed.

The last time that was believed is a note in the catalog. While the clock is in doubt nothing is let go by its age, and
what is written down is never before what was known. A clock that went on for an hour without being set is believed, and
times that it cannot have told are then clamped.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from proxy.core.clock import Doubt, doubt_of, doubt_under_way
from proxy.core.errors import NoSpace, StoreFailed
from proxy.core.portions import PORTIONS
from proxy.storage.contract import Catalog

log = logging.getLogger("entrepot.clock")

_NOTE = "clock"
_TRUSTED_AFTER = 3600.0  # seconds
_PAUSE = 0.01  # seconds between two portions, in which hits have their turn


class Timekeeper:
    """``now`` is the process's own time, ``wall`` the machine's; both in seconds since the epoch. ``doubt`` is that of
    now."""

    def __init__(
        self, catalog: Catalog, now: Callable[[], float], wall: Callable[[], float], earliest: float = 0.0
    ) -> None:
        self.doubt = Doubt.NONE
        self._catalog = catalog
        self.now = now
        self._wall = wall
        self._earliest = earliest
        self._began = now()
        self._known = 0.0  # the last time that was believed
        self._clamped = False  # are all times of the catalog such as may be believed?

    def stamp(self) -> float:
        """The time for what is written down."""
        return max(self.now(), self._known)

    def troubles(self) -> Mapping[str, str]:
        """As health wants it."""
        if self.doubt is Doubt.NONE:
            return {}
        return {"clock": f"{self.doubt.value}: nothing is let go by its age until that is settled"}

    async def load(self) -> None:
        """Judges the time of the start."""
        known, self._clamped = await self._remembered()
        self.doubt = doubt_of(self.now(), known, self._earliest)
        if self.doubt is Doubt.NONE:
            return
        log.error("the clock is in doubt: %s", self.doubt.value)
        self._clamped = False
        if self.doubt is not Doubt.AHEAD and known is not None:
            self._known = known

    async def look(self) -> None:
        """Once a minute. Raises NoSpace or StoreFailed."""
        now = self.now()
        before, self.doubt = self.doubt, doubt_under_way(now, self._wall(), self.doubt)
        if self.doubt in (Doubt.BACK, Doubt.AHEAD) and now - self._began >= _TRUSTED_AFTER:
            self.doubt = Doubt.NONE
        if self.doubt is not before:
            log.warning("the clock: %s", self.doubt.value or "it is believed")
        if self.doubt is Doubt.NONE:
            self._known = 0.0
            await self._clamp(now)
            await self._note(now)
        elif self.doubt is Doubt.EARLY:
            await self._note(self._known or None)

    async def _clamp(self, now: float) -> None:
        """Once, where an earlier run or this one was in doubt."""
        if self._clamped:
            return
        count = 0
        for first, end in PORTIONS:
            count += await self._catalog.contents.clamp(first, end, self._earliest, now)
            await asyncio.sleep(_PAUSE)
        self._clamped = True
        if count:
            log.warning("%d times in the catalog were told by a clock that was wrong: they are now", count)

    async def _remembered(self) -> tuple[float | None, bool]:
        """The last time that was believed, and whether nothing was written down in doubt."""
        with suppress(NoSpace, StoreFailed, ValueError, TypeError, KeyError):
            note = json.loads(await self._catalog.notes.note(_NOTE) or "{}")
            return (float(note["known"]) if note["known"] is not None else None), bool(note["clamped"])
        return None, False

    async def _note(self, known: float | None) -> None:
        await self._catalog.notes.write_note(_NOTE, json.dumps({"known": known, "clamped": self._clamped}))
