"""The fills under way: opening them, running them, letting go of those that nobody waits for."""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from proxy.cache.deserted import Deserted
from proxy.cache.fill import Fill, FillBody
from proxy.cache.holdings import Holdings, Provenance
from proxy.cache.intake import Intake, IntakeRules, Segment
from proxy.cache.pass_through import PassThrough, PassThroughBody, PassThroughs
from proxy.cache.ranged import Extras, Ranged
from proxy.cache.room import Room, begin_room
from proxy.cache.sources import Sources
from proxy.cache.space import Space
from proxy.cache.threads import Threads
from proxy.cache.verifier import InOrderVerifier
from proxy.core.desertion import DesertionRules
from proxy.core.errors import ContentMissing, Fault, NoSpace, Overloaded, StoreFailed, WrongBytes
from proxy.core.histogram import LONG, SIZES, Histogram
from proxy.core.names import Digest, Hasher, Repository
from proxy.core.seldom import Seldom
from proxy.core.transfer import Transfer
from proxy.storage.contract import Content
from proxy.tasks.off_loop import off_loop
from proxy.tasks.places import Places

_SETTLED = 10.0  # seconds that a stop waits for the disk

log = logging.getLogger("entrepot.fill")


@dataclass(frozen=True, slots=True)
class FillRules:
    """``at_once`` and ``queue`` are what one upstream may have; all together have less than twice as many."""

    at_once: int = 64  # that arrive; and as many again of which upstream has still to say that it has them
    queue: int = 512  # waiting for one of those places
    largest: int = 52 << 30  # bytes; above, a blob passes through
    desertion: DesertionRules = field(default_factory=DesertionRules)
    intake: IntakeRules = field(default_factory=IntakeRules)


@dataclass(slots=True)
class FillStats:
    started: int = 0
    completed: int = 0
    failed: int = 0
    spilled: int = 0
    abandoned: int = 0
    wrong_digests: int = 0


Opened = Fill | PassThrough
"""What came of asking upstream: a fill to follow, or what cannot be kept."""


@dataclass(slots=True)
class _Run:
    """What one fill owns until it ends."""

    fill: Fill
    room: Room  # and what arrives in it
    transfer: Transfer = field(repr=False)
    began: float  # seconds of the loop's clock
    result: str = "failed"  # so far


class Fills:
    """At most one for a digest; ``arriving`` is shared with those who must know what is under way."""

    def __init__(
        self,
        arriving: dict[Digest, Fill],
        space: Space,
        sources: Sources,
        rules: FillRules,
        threads: Threads,
        group: asyncio.TaskGroup,
        holdings: Holdings,
    ) -> None:
        self.stats = FillStats()
        self.durations: dict[str, Histogram] = {}  # seconds, by how they ended
        self.sizes = Histogram(SIZES)  # bytes, of those that were kept
        self.pass_throughs = PassThroughs(sources, threads.pass_through, threads.chunks, group)
        self.arriving = arriving
        self._space = space
        self._sources = sources
        self._rules = rules
        self._threads = threads
        self._group = group
        self.now = holdings.now
        self._queue = Places(rules.queue)
        self._asking = Places(rules.at_once)
        self.deserted = Deserted(rules.desertion, rules.at_once, self._drop)
        self._places = self.deserted.places
        self._lines = Seldom()
        self._extras = Extras(threads.extra, threads.extras, holdings.tables)

    def __len__(self) -> int:
        return len(self.arriving)

    @property
    def waiting(self) -> int:
        """How many blobs wait for a place."""
        return self._asking.wanted + self._places.wanted

    def under_way(self, repository: Repository, digest: Digest) -> Opened | None:
        """A fill of whatever repository, or what passes through to this one and can be read from the front."""
        fill = self.arriving.get(digest)
        if fill is not None:
            return fill
        passing = self.pass_throughs.under_way.get((repository, digest))
        return passing if passing is not None and passing.admits(0) else None

    def follow(self, opened: Opened) -> FillBody | PassThroughBody | None:
        """Of a repository that may have it, from the front. None when it is over, or no longer there from the front."""
        if isinstance(opened, PassThrough):
            return self.pass_throughs.follow(opened, 0)
        repository = opened.repository

        async def carry_on(proof: Hasher, position: int) -> PassThroughBody:
            return await self.pass_throughs.join(repository, proof, position)

        return opened.follow(carry_on)

    async def open(self, repository: Repository, digest: Digest) -> Opened:
        """Asks for the blob and starts to bring it; call it in a flight. Raises BlobUnknown, NameUnknown, Overloaded,
        and upstream's faults."""
        with self._queued(repository.upstream):
            async with self._asking.place(repository.upstream):
                transfer = await self._sources.open(repository, digest)
                try:
                    begun = await self._begin(repository, digest, transfer)
                except BaseException:
                    transfer.close()
                    raise
        return begun or self.pass_throughs.begin(repository, Hasher(digest), transfer)

    async def pass_by(self, repository: Repository, digest: Digest) -> PassThroughBody:
        """From the front, for one who may not follow the fill under way. Raises as ``open``."""
        return await self.pass_throughs.join(repository, Hasher(digest), 0)

    async def settle(self) -> None:
        """What clients have been sent to its end is committed, or ``_SETTLED`` seconds are over."""
        whole = [fill.task for fill in self.arriving.values() if fill.proven and fill.task is not None]
        if whole:
            await asyncio.wait(whole, timeout=_SETTLED)

    @contextmanager
    def _queued(self, upstream: str) -> Iterator[None]:
        """Whoever finds no place free waits in a queue of which no upstream can have all either. Raises Overloaded."""
        waits = not (self._asking.admits(upstream) and self._places.admits(upstream))
        if waits and not self._queue.take_now(upstream):
            raise Overloaded(f"too many blobs wait for one of {self._rules.at_once} places")
        try:
            yield
        finally:
            if waits:
                self._queue.give_back(upstream)

    async def _begin(self, repository: Repository, digest: Digest, transfer: Transfer) -> Fill | None:
        """Takes a place; None where the blob cannot be kept."""
        upstream, what = repository.upstream, f"{digest} of {repository}"
        largest = min(self._space.largest(upstream), self._rules.largest)
        if transfer.size is not None and transfer.size > largest:
            log.warning("%s: %d bytes pass through, at most %d are cached", what, transfer.size, largest)
            return None
        await self._places.take(upstream)
        try:
            run = await self._prepare(repository, digest, transfer, largest)
        except BaseException:
            self._places.give_back(upstream)
            raise
        if run is None:
            self._places.give_back(upstream)
            return None
        self.arriving[digest] = fill = run.fill
        fill.task = self._group.create_task(self._run(run))
        # A callback, since a task that is cancelled before its first step never reaches a finally of its own.
        fill.task.add_done_callback(partial(self._ended, run))
        self.deserted.add(fill)
        return fill

    async def _prepare(self, repository: Repository, digest: Digest, transfer: Transfer, largest: int) -> _Run | None:
        """None where there is no room, or no file."""
        what, largest = f"{digest} of {repository}", largest if transfer.size is None else transfer.size
        room = await begin_room(self._space, repository.upstream, largest, what)
        if room is None:
            return None
        try:
            fill = Fill(repository, digest, transfer.size, room.arrival.ingest, self.deserted.add)
        except (ContentMissing, NoSpace, StoreFailed) as cause:  # what was begun cannot be read
            log.error("%s passes through: %s", what, cause)
            room.arrival.abort()
            return None
        except BaseException:
            room.arrival.abort()
            raise
        return _Run(fill, room, transfer, asyncio.get_running_loop().time())

    async def _run(self, run: _Run) -> None:
        """Never raises but when cancelled: a failed fill must not take its siblings down."""
        self.stats.started += 1
        try:
            await self._fill(run)
        except Fault as fault:
            self._failed(run.fill, fault)
        except Exception:
            log.exception("%s of %s", run.fill.digest, run.fill.repository)
            self._failed(run.fill, StoreFailed("an unforeseen failure; see the log"))
        finally:
            self._forget(run.fill)

    def _ended(self, run: _Run, _: "asyncio.Task[None]") -> None:
        """However it ended, and even if it never began."""
        self._forget(run.fill)
        took = self.durations.setdefault("abandoned" if run.fill.dropped else run.result, Histogram(LONG))
        took.observe(asyncio.get_running_loop().time() - run.began)
        if not run.fill.settled:
            run.fill.fail(Overloaded("the fill was stopped"))
        run.fill.end()
        run.transfer.close()
        run.room.arrival.abort()
        self._places.give_back(run.fill.repository.upstream)
        self.deserted.ended(run.fill)

    def _forget(self, fill: Fill) -> None:
        if self.arriving.get(fill.digest) is fill:
            del self.arriving[fill.digest]

    async def _fill(self, run: _Run) -> None:
        fill = run.fill
        while (hasher := await self._brought(run)) is not None and not hasher.agrees():
            await self._begin_again(run)
        if hasher is None:
            run.result = "spilled"
            return
        fill.prove(hasher.count)
        now = self.now()
        content = Content(fill.digest, hasher.count, "", now, now, fill.repository.upstream)
        await run.room.arrival.commit(content, Provenance(fill.repository))
        self.stats.completed += 1
        self.sizes.observe(hasher.count)
        run.result = "completed"

    async def _brought(self, run: _Run) -> Hasher | None:
        """What the bytes that came hash to; None where the disk took no more."""
        fill = run.fill
        verifier = InOrderVerifier(Hasher(fill.digest), fill.reader, fill.spans, self._threads.provers)
        try:
            await self._receive(run, verifier)
            if not verifier.idle:
                await off_loop(self._threads.movers, verifier.finish)
        except (NoSpace, StoreFailed) as cause:
            await self._spill(fill, verifier, cause)
            return None
        finally:
            verifier.stop()
        return verifier.hasher

    async def _begin_again(self, run: _Run) -> None:
        """After wrong bytes, as long as no client has any of them. The sources end it: whoever sent them twice is not
        asked now. Raises WrongBytes."""
        fill, what = run.fill, f"{run.fill.digest} of {run.fill.repository}"
        wrong = WrongBytes(" and ".join(sorted(fill.origins)), f"it sent wrong bytes for {fill.digest}")
        self.stats.wrong_digests += 1
        self._sources.blame(fill.origins, fill.digest)
        if fill.shown:
            raise wrong
        fill.conceal()
        log.warning("%s is asked for once more: %s", what, wrong)
        try:
            transfer = await self._sources.open(fill.repository, fill.digest)
        except Fault:
            raise wrong from None
        run.transfer = transfer  # which is closed with the run
        run.room.arrival.abort()
        room = await begin_room(self._space, fill.repository.upstream, run.room.largest, what)
        if room is None:
            raise wrong
        run.room = room
        if transfer.size != fill.size:
            raise wrong
        fill.begin_again(room.arrival.ingest)

    async def _receive(self, run: _Run, verifier: InOrderVerifier) -> None:
        fill, rules = run.fill, self._rules.intake

        async def reopen(offset: int, end: int | None) -> Transfer:
            return await self._sources.open(fill.repository, fill.digest, offset, end)

        intake = Intake(fill, run.room.arrival.ingest, verifier, reopen, run.room, rules)
        async with run.room.kept_ahead():
            if fill.size is not None and fill.size >= rules.transfers.smallest:
                ranged = Ranged(fill, intake, reopen, self._extras, rules.transfers)
                await ranged.run(run.transfer, self._threads.movers)
            else:
                await intake.bring(Segment(0, run.room.largest), run.transfer, self._threads.movers)

    async def _spill(self, fill: Fill, verifier: InOrderVerifier, cause: Exception) -> None:
        """Readers carry on from where the proof ends: as far as it can be brought."""
        try:
            await off_loop(self._threads.movers, verifier.finish)
        except StoreFailed:  # the file may not be readable either
            log.info("%s cannot be read back", fill.digest)
        verifier.stop()
        fill.spill(verifier.hasher)
        self.stats.spilled += 1
        if self._lines.due(type(cause).__name__, time.monotonic()):
            log.error("%s of %s: readers carry on uncached, as others may: %s", fill.digest, fill.repository, cause)

    def _failed(self, fill: Fill, fault: Fault) -> None:
        self.stats.failed += 1
        log.warning("%s of %s after %d bytes: %s", fill.digest, fill.repository, fill.received, fault)
        if not fill.proven:
            fill.fail(fault)

    def _drop(self, fill: Fill) -> None:
        self.stats.abandoned += 1
        fill.dropped = True
        self._forget(fill)
        if fill.task is not None:
            fill.task.cancel()
