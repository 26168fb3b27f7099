"""What is held is read again, to find bytes that went bad on the disk before a client does.

Behind everything else: one pass in seven days, slowly, with its place kept over restarts. And at once, by order.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from proxy.cache.holdings import Holdings
from proxy.cache.rereading import RATE, ReadCount
from proxy.cache.upkeep import forgiving
from proxy.core.moments import due_in
from proxy.core.portions import PORTIONS, Portion
from proxy.storage.contract import Content
from proxy.tasks.shared_pace import SharedPace

log = logging.getLogger("entrepot.scrub")

PERIOD = 7 * 86_400.0  # seconds from the beginning of one pass to that of the next
_LARGE = 1 << 20  # bytes, from which on the place is written down behind each content
_FIRST = 120.0  # seconds after a start
_REST = 10.0  # seconds, in which a storage that failed may become well
_NOTE = "scrub"


@dataclass(slots=True)
class ScrubStats:
    contents: int = 0
    size: int = 0  # bytes
    bad: int = 0


@dataclass(frozen=True, slots=True)
class Checked:
    content: Content
    good: bool


@dataclass(frozen=True, slots=True)
class _Mark:
    """How far a pass has come: all before ``after`` is read. Empty: not begun; ``~``: through."""

    began_at: float = 0.0  # seconds since the epoch
    after: str = "~"


class Scrub:
    """``pace`` is that of the passes behind everything else."""

    def __init__(self, holdings: Holdings, now: Callable[[], float], pace: SharedPace | None = None) -> None:
        self._pace = pace or SharedPace(RATE)
        self.stats = ScrubStats()
        self._holdings = holdings
        self._now = now

    async def run(self) -> None:
        """Pass after pass. Runs until cancelled."""
        await asyncio.sleep(_FIRST)
        while True:
            await forgiving(self.resume)()  # it goes on where it was
            await asyncio.sleep(_REST)

    async def resume(self) -> None:
        """Carries the pass on that a restart interrupted, or begins the next when it is due. Raises NoSpace,
        StoreFailed."""
        mark = await self._mark()
        if mark.after == "~":
            await asyncio.sleep(due_in(mark.began_at, PERIOD, self._now()))
            mark = _Mark(self._now(), "")
        for portion in PORTIONS:
            if portion.end <= mark.after:
                continue
            rest = portion._replace(first=max(portion.first, mark.after))
            async with aclosing(self._verified(self._pace, rest, ReadCount())) as checked:
                async for each in checked:
                    if each.content.size > _LARGE or not each.good:
                        await self._write(_Mark(mark.began_at, f"{each.content.digest}~"))
            await self._write(_Mark(mark.began_at, portion.end))
        await self._write(_Mark(mark.began_at, "~"))

    async def verify(self, rate: float, read: ReadCount | None = None) -> AsyncGenerator[Checked, None]:
        """Reads all that is held at so many bytes per second, counted in ``read`` meanwhile. Bad content is put into
        quarantine, so that the next pull fetches it anew. Raises NoSpace, StoreFailed."""
        pace, read = SharedPace(rate), read or ReadCount()
        for portion in PORTIONS:
            async with aclosing(self._verified(pace, portion, read)) as checked:
                async for each in checked:
                    yield each

    async def _verified(self, pace: SharedPace, portion: Portion, read: ReadCount) -> AsyncGenerator[Checked, None]:
        for content in await self._holdings.catalog.contents.between(*portion):
            good = await self._check(content, pace, read)
            if good is None:
                continue
            self.stats.contents += 1
            self.stats.size += content.size
            self.stats.bad += not good
            yield Checked(content, good)

    async def _check(self, content: Content, pace: SharedPace, read: ReadCount) -> bool | None:
        """None for what has left meanwhile."""
        if await self._holdings.catalog.contents.get(content.digest) is None:
            return None
        return bool(await self._holdings.prove_again(content, pace, read))  # what cannot be opened is bad as well

    async def _mark(self) -> _Mark:
        note = await self._holdings.catalog.notes.note(_NOTE)
        try:
            mark = json.loads(note) if note is not None else {}
            return _Mark(float(mark["began_at"]), str(mark["after"]))
        except (ValueError, TypeError, KeyError):
            return _Mark()

    async def _write(self, mark: _Mark) -> None:
        text = json.dumps({"began_at": mark.began_at, "after": mark.after})
        await self._holdings.catalog.notes.write_note(_NOTE, text)
