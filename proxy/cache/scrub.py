"""What is held is read again, to find bytes that went bad on the disk before a client does.

Behind everything else: one pass in seven days, slowly, with its place kept over restarts. And at once, by order.
"""

import asyncio
import json
import logging
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from proxy.cache.body import HeldBody
from proxy.cache.holdings import Holdings
from proxy.core.errors import StoreFailed
from proxy.core.hashing import Hasher
from proxy.core.moments import due_in
from proxy.storage.contract import Content
from proxy.tasks.off_loop import off_loop

log = logging.getLogger("entrepot.scrub")

PERIOD = 7 * 86_400.0  # seconds from the beginning of one pass to that of the next
RATE = 20_000_000  # bytes per second
_STEP = 1 << 20  # bytes
_TURN = 1 << 17  # bytes hashed before the core is offered to whoever waits for it, such as the event loop
_FIRST = 120.0  # seconds after a start
_NOTE = "scrub"
_PORTIONS = [f"{algorithm}:{shard:02x}" for algorithm in ("sha256", "sha512") for shard in range(256)]


@dataclass(slots=True)
class ScrubStats:
    contents: int = 0
    size: int = 0  # bytes
    bad: int = 0


@dataclass(slots=True)
class ReadCount:
    """How far one verification is, within a large content too."""

    bytes: int = 0


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
    def __init__(self, holdings: Holdings, now: Callable[[], float]) -> None:
        self.stats = ScrubStats()
        self._holdings = holdings
        self._now = now

    async def run(self) -> None:
        """Pass after pass. Runs until cancelled."""
        await asyncio.sleep(_FIRST)
        while True:
            try:
                await self.resume()
            except Exception:  # of an auxiliary task; pulls must go on
                log.exception("the scrub was interrupted")
                await asyncio.sleep(_FIRST)

    async def resume(self, rate: float = RATE) -> None:
        """Carries the pass on that a restart interrupted, or begins the next when it is due. Raises StoreFailed."""
        mark = await self._mark()
        if mark.after == "~":
            await asyncio.sleep(due_in(mark.began_at, PERIOD, self._now()))
            mark = _Mark(self._now(), "")
        for portion in _PORTIONS:
            if portion < mark.after[: len(portion)]:
                continue
            async with aclosing(self.verify(rate, max(portion, mark.after), f"{portion}g")) as checked:
                async for each in checked:
                    if each.content.size > _STEP or not each.good:
                        await self._write(_Mark(mark.began_at, f"{each.content.digest}~"))
            await self._write(_Mark(mark.began_at, f"{portion}g"))
        await self._write(_Mark(mark.began_at, "~"))

    async def verify(
        self, rate: float, first: str = "", last: str = "~", read: ReadCount | None = None
    ) -> AsyncGenerator[Checked, None]:
        """Reads what is held from ``first`` up to before ``last`` at so many bytes per second, counted in ``read``
        meanwhile. Bad content is put into quarantine, so that the next pull fetches it anew. Raises StoreFailed."""
        count = read or ReadCount()
        for portion in _PORTIONS:
            if not first <= f"{portion}g" or not portion < last:
                continue
            for content in await self._holdings.catalog.contents.between(max(portion, first), min(f"{portion}g", last)):
                good = await self._check(content, rate, count)
                if good is None:
                    continue
                self.stats.contents += 1
                self.stats.size += content.size
                self.stats.bad += not good
                yield Checked(content, good)

    async def _check(self, content: Content, rate: float, read: ReadCount) -> bool | None:
        """None for what has left meanwhile."""
        if await self._holdings.catalog.contents.get(content.digest) is None:
            return None
        body = await self._holdings.open(content)
        if body is None:
            return False
        try:
            good = await self._agrees(body, content, rate, read)
        finally:
            body.close()
        if not good:
            await self._holdings.discard(content)
        return good

    async def _agrees(self, body: HeldBody, content: Content, rate: float, read: ReadCount) -> bool:
        hasher = Hasher(content.digest)
        clock = asyncio.get_running_loop().time
        due = clock()
        while hasher.count < content.size:
            before = hasher.count
            try:
                await off_loop(self._holdings.threads.behind, partial(_read_on, body, hasher))
            except StoreFailed as cause:
                log.error("%s cannot be read: %s", content.digest, cause)
                return False
            if hasher.count == before:
                return False
            read.bytes += hasher.count - before
            due += (hasher.count - before) / rate
            await asyncio.sleep(max(0.0, due - clock()))
        return hasher.agrees()

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


def _read_on(body: HeldBody, hasher: Hasher) -> None:
    read = memoryview(body.reader.read(hasher.count, _STEP))
    for start in range(0, len(read), _TURN):
        hasher.update(read[start : start + _TURN])
        os.sched_yield()
