"""Space for what comes: reserve before you receive, evict at the soft limit, never exceed the hard one.

The one way in for content is an arrival: bytes set aside, an ingest to write to, and, once somebody has proven the
digest, a commit.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from operator import methodcaller

from proxy.cache.holdings import Holdings, Provenance
from proxy.cache.retention import Cause, Retention
from proxy.core.budget import ByteLimits, FreeSpaceRule, Reservation
from proxy.core.errors import NoSpace, StoreFailed
from proxy.core.seldom import Seldom
from proxy.storage.contract import Content, Ingest
from proxy.tasks.jobs import Jobs
from proxy.tasks.off_loop import off_loop

log = logging.getLogger("entrepot.arrivals")

_ABORT = methodcaller("abort")
_LONG = 1.0  # seconds; an eviction that took longer and found too little is not repeated at once
_RESTS = 10.0  # seconds

Shares = Callable[[str], ByteLimits | None]
"""The byte budget of an upstream of its own, by name."""


class Space:
    """Evicts through ``Retention``, which never chooses what is pinned or in use."""

    def __init__(
        self, holdings: Holdings, retention: Retention, free: FreeSpaceRule, shares: Shares, jobs: Jobs
    ) -> None:
        self._holdings = holdings
        self._retention = retention
        self._free = free
        self._shares = shares
        self._jobs = jobs
        self._evicting = asyncio.Lock()
        self._behind: asyncio.Task[None] | None = None
        self._crowded: set[str] = set()  # upstreams above their own budget
        self._rests_until = 0.0
        self._behind_rests_until = 0.0
        self._lines = Seldom()
        self._shortage = ""  # of the disk, in words

    def troubles(self) -> Mapping[str, str]:
        """What the disk has no room for although all that may go has gone."""
        return {"room": self._shortage} if self._shortage else {}

    async def look(self) -> None:
        """Has the disk any room again? A disk that can never have any is noticed here. Raises NoSpace, StoreFailed."""
        free, total = await self._free_space()
        found = self._free.shortage(free, total)
        if not found or self._free.floor(total) >= total:
            self._tell(found)

    def _tell(self, shortage: str) -> None:
        if shortage and not self._shortage:
            log.warning("%s", shortage)
        self._shortage = shortage

    def largest(self, upstream: str) -> int:
        """The largest blob of the upstream that is cached, in bytes."""
        share, whole = self._shares(upstream), self._holdings.budget.limits
        return whole.blob if share is None else min(share.blob, whole.blob)

    async def begin(self, size: int, upstream: str, what: str) -> "Arrival | None":
        """Room for ``size`` bytes that come through ``upstream``; None where they cannot be kept: no room below
        max_size or min_free, or a store that fails. ``what`` names them in the log."""
        try:
            reservation = await self.reserve(size, upstream)
            if reservation is None:
                if self._lines.due("room", time.monotonic()):
                    log.warning("%s passes through, as others may: no room below max_size or min_free", what)
                return None
            threads, store = self._holdings.threads, self._holdings.store
            try:
                ingest = await off_loop(threads.committing, store.begin, give_back=_ABORT)
            except BaseException:
                reservation.release()
                raise
        except (NoSpace, StoreFailed) as cause:
            if self._lines.due(type(cause).__name__, time.monotonic()):
                log.error("%s passes through, as others may: %s", what, cause)
            return None
        return Arrival(ingest, reservation, self, self._holdings)

    async def keep(self, content: Content, raw: bytes, provenance: Provenance, what: str) -> bool:
        """Small and proven, it is held from now on; False where ``begin`` gives None. Raises NoSpace, StoreFailed."""
        arrival = await self.begin(len(raw), content.upstream, what)
        if arrival is None:
            return False
        try:
            await arrival.write(raw)
            await arrival.commit(content, provenance)
        finally:
            arrival.abort()
        return True

    async def reserve(self, size: int, upstream: str) -> Reservation | None:
        """None where there is no room, even after eviction. Above the soft limit eviction runs behind; only where a
        hard limit or the filesystem leaves no room does the caller wait for it. Raises NoSpace, StoreFailed."""
        reservation = Reservation(self._holdings.budget, upstream)
        return reservation if await self.extend(reservation, size) else None

    async def extend(self, reservation: Reservation, size: int) -> bool:
        """True when so many more bytes are reserved. Raises NoSpace, StoreFailed."""
        upstream = reservation.upstream
        # The room may have gone to another since, so it is looked at in the step in which it is taken.
        granted = await self._make_room(size, upstream) and self._in_share(upstream, size) and reservation.extend(size)
        self._shrink_behind(upstream)
        return granted

    async def _make_room(self, size: int, upstream: str) -> bool:
        budget = self._holdings.budget
        if not self._in_share(upstream, size):
            await self._evict(partial(self._excess_of, upstream, size), Cause.SHARE, upstream)
        if size > budget.limits.hard or not self._in_share(upstream, size):
            return False  # nothing else that goes could make room for it
        if budget.used + size > budget.limits.hard:
            await self._evict(lambda: budget.excess(size), Cause.BUDGET)
        if not await self._fits(size):
            await self._evict(lambda: size, Cause.DISK)
            if not await self._fits(size):
                self._tell(self._free.shortage(*await self._free_space()))
                return False
        return True

    def _in_share(self, upstream: str, more: int) -> bool:
        share = self._shares(upstream)
        return share is None or self._holdings.budget.used_by(upstream) + more <= share.hard

    def _shrink_behind(self, upstream: str) -> None:
        if self._excess_of(upstream, 0):
            self._crowded.add(upstream)
        due = asyncio.get_running_loop().time() >= self._behind_rests_until
        if due and (self._holdings.budget.excess() or self._crowded) and (self._behind is None or self._behind.done()):
            self._behind = self._jobs.once("eviction", self._shrink_or_rest)

    async def _shrink_or_rest(self) -> None:
        """A storage that lets nothing go has told so itself, and is left alone for a while by all but those who need
        the room at once."""
        try:
            await self.shrink()
        except (NoSpace, StoreFailed):
            self._behind_rests_until = asyncio.get_running_loop().time() + _RESTS

    async def shrink(self) -> None:
        """Evicts until usage is back below the target of every limit that it is above. Raises NoSpace, StoreFailed."""
        crowded = sorted(self._crowded | set(self._holdings.budget.committed_by))
        self._crowded.clear()
        for upstream in crowded:
            if self._excess_of(upstream, 0):
                await self._evict(partial(self._excess_of, upstream, 0), Cause.SHARE, upstream)
        await self._evict(self._holdings.budget.excess, Cause.BUDGET)

    async def evict(self, wanted: int, upstream: str | None = None) -> int:
        """Least recently used first; returns the bytes freed, fewer than ``wanted`` where the rest is pinned or in
        use. Raises NoSpace, StoreFailed."""
        return await self._evict(lambda: wanted, Cause.BUDGET, upstream)

    async def _evict(self, wanted: Callable[[], int], cause: Cause, upstream: str | None = None) -> int:
        """What is wanted is asked when it is this one's turn: the one before may have freed enough. What is counted and
        held for nobody goes first."""
        async with self._evicting:
            if wanted() > 0 and self._holdings.has_leftovers():
                with suppress(NoSpace, StoreFailed):  # it is left over for longer then
                    await self._holdings.clear_tombstones()
            size, clock = wanted(), asyncio.get_running_loop().time
            if size <= 0 or clock() < self._rests_until:
                return 0
            began = clock()
            await self._holdings.flush()
            freed = await self._retention.evict(size, cause, upstream)
            if freed < size and clock() - began > _LONG:
                self._rests_until = clock() + _RESTS
            return freed

    def _excess_of(self, upstream: str, more: int) -> int:
        share = self._shares(upstream)
        return share.excess(self._holdings.budget.used_by(upstream) + more) if share is not None else 0

    async def _fits(self, size: int) -> bool:
        free, total = await self._free_space()
        return free - size >= self._free.floor(total)

    async def _free_space(self) -> tuple[int, int]:
        return await off_loop(self._holdings.threads.committing, self._holdings.store.free_space)


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """Content on its way in. Ends once, by ``commit`` or ``abort``; a second end does nothing."""

    ingest: Ingest
    _reservation: Reservation
    _space: Space
    _holdings: Holdings

    async def write(self, whole: bytes) -> None:
        """Something small. Raises NoSpace or StoreFailed."""
        await off_loop(self._holdings.threads.committing, partial(self.ingest.write, 0, whole))

    async def extend(self, size: int) -> bool:
        """True when so many more bytes are set aside. Raises NoSpace or StoreFailed."""
        return await self._space.extend(self._reservation, size)

    async def commit(self, content: Content, provenance: Provenance) -> None:
        """What was written, whole and proven, is held from now on. Raises NoSpace or StoreFailed."""
        await self._holdings.commit(self.ingest, content, provenance, self._reservation)

    def abort(self) -> None:
        """Its file goes in the pool's own time: nothing waits for it."""
        self._reservation.release()
        self._holdings.threads.removing.submit(self.ingest.abort)
