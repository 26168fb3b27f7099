"""The fills under way: opening them, running them, letting go of those that nobody waits for."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from proxy.cache.fill import Fill, FillBody
from proxy.cache.holdings import Provenance
from proxy.cache.intake import InOrderVerifier, Intake, IntakeRules, Segment
from proxy.cache.pass_through import PassThrough, PassThroughBody, PassThroughs
from proxy.cache.ranged import Extras, Ranged
from proxy.cache.sources import Sources
from proxy.cache.space import Arrival, Space
from proxy.cache.threads import Threads
from proxy.core.errors import ContentMissing, Fault, NoSpace, Overloaded, StoreFailed, WrongBytes
from proxy.core.names import Digest, Hasher, Repository
from proxy.core.seldom import Seldom
from proxy.core.transfer import Transfer
from proxy.storage.contract import Content
from proxy.tasks.off_loop import off_loop

_STEP = 64 << 20  # bytes reserved at a time for a blob whose size upstream does not say
_WORTH_FINISHING = 256 << 20
_SETTLED = 10.0  # seconds that a stop waits for the disk

log = logging.getLogger("entrepot.fill")


@dataclass(frozen=True, slots=True)
class FillRules:
    at_once: int = 64
    queue: int = 512  # waiting for one of those places
    largest: int = 52 << 30  # bytes; above, a blob passes through
    distrust: float = 300.0  # seconds that an origin is not asked again for a digest that it sent wrong bytes for
    linger: float = 60.0  # seconds that a fill without readers goes on before it is judged
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


def worth_finishing(size: int | None, received: int) -> bool:
    """Should a fill that nobody reads go on? When little is left, or most is there."""
    if size is None:
        return received <= _WORTH_FINISHING
    return size - received <= _WORTH_FINISHING or received * 2 >= size


@dataclass(slots=True)
class _Run:
    """What one fill owns until it ends."""

    fill: Fill
    arrival: Arrival
    granted: int  # bytes set aside
    largest: int  # that may be
    transfer: Transfer = field(repr=False)

    async def grant(self, wanted: int) -> int:
        """As ``intake.Grant``."""
        more = min(wanted, self.largest - self.granted)
        if more <= 0 or not await self.arrival.extend(more):
            return 0
        self.granted += more
        return more


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
        now: Callable[[], float],
    ) -> None:
        self.stats = FillStats()
        self.pass_throughs = PassThroughs(sources, threads.pass_through, group)
        self.arriving = arriving
        self._space = space
        self._sources = sources
        self._rules = rules
        self._threads = threads
        self._group = group
        self.now = now
        self._places = asyncio.Semaphore(rules.at_once)
        self._queued = 0
        self._lines = Seldom()
        self._extras = Extras(threads.extra, threads.extras, now)

    def __len__(self) -> int:
        return len(self.arriving)

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
        await self._take_place()
        try:
            transfer = await self._sources.open(repository, digest)
            run = await self._prepare(repository, digest, transfer)
        except BaseException:
            self._places.release()
            raise
        if run is None:
            self._places.release()
            return self.pass_throughs.begin(repository, Hasher(digest), transfer)
        self.arriving[digest] = run.fill
        run.fill.task = self._group.create_task(self._run(run))
        # A callback, since a task that is cancelled before its first step never reaches a finally of its own.
        run.fill.task.add_done_callback(partial(self._ended, run))
        return run.fill

    async def pass_by(self, repository: Repository, digest: Digest) -> PassThroughBody:
        """From the front, for one who may not follow the fill under way. Raises as ``open``."""
        return await self.pass_throughs.join(repository, Hasher(digest), 0)

    async def settle(self) -> None:
        """What clients have been sent to its end is committed, or ``_SETTLED`` seconds are over."""
        whole = [fill.task for fill in self.arriving.values() if fill.proven and fill.task is not None]
        if whole:
            await asyncio.wait(whole, timeout=_SETTLED)

    async def _take_place(self) -> None:
        if self._places.locked() and self._queued >= self._rules.queue:
            raise Overloaded(f"{self._queued} blobs wait for one of {self._rules.at_once} places")
        self._queued += 1
        try:
            await self._places.acquire()
        finally:
            self._queued -= 1

    async def _prepare(self, repository: Repository, digest: Digest, transfer: Transfer) -> _Run | None:
        """None where the blob cannot be kept."""
        what = f"{digest} of {repository}"
        largest = min(self._space.largest(repository.upstream), self._rules.largest)
        if transfer.size is not None and transfer.size > largest:
            log.warning("%s: %d bytes pass through, at most %d are cached", what, transfer.size, largest)
            return None
        granted = min(_STEP, largest) if transfer.size is None else transfer.size
        arrival: Arrival | None = None
        try:
            arrival = await self._space.begin(granted, repository.upstream, what)
            if arrival is None:
                return None
            fill = Fill(repository, digest, transfer.size, arrival.ingest, self._judge_later)
            return _Run(fill, arrival, granted, largest, transfer)
        except (ContentMissing, StoreFailed) as cause:  # what was begun cannot be read
            log.error("%s passes through: %s", what, cause)
            if arrival is not None:
                arrival.abort()
            return None
        except BaseException:
            transfer.close()
            if arrival is not None:
                arrival.abort()
            raise

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
        if not run.fill.settled:
            run.fill.fail(Overloaded("the fill was stopped"))
        run.fill.end()
        run.transfer.close()
        run.arrival.abort()
        self._places.release()

    def _forget(self, fill: Fill) -> None:
        if self.arriving.get(fill.digest) is fill:
            del self.arriving[fill.digest]

    async def _fill(self, run: _Run) -> None:
        fill = run.fill
        verifier = InOrderVerifier(Hasher(fill.digest), fill.reader, fill.spans, self._threads.provers)
        try:
            await self._receive(run, verifier)
            await off_loop(self._threads.movers, verifier.finish)
        except (NoSpace, StoreFailed) as cause:
            await self._spill(fill, verifier, cause)
            return
        finally:
            verifier.stop()
        if not verifier.hasher.agrees():
            raise WrongBytes(" and ".join(sorted(fill.origins)), f"it sent wrong bytes for {fill.digest}")
        fill.prove(verifier.hasher.count)
        now = self.now()
        content = Content(fill.digest, verifier.hasher.count, "", now, now, fill.repository.upstream)
        await run.arrival.commit(content, Provenance(fill.repository))
        self.stats.completed += 1

    async def _receive(self, run: _Run, verifier: InOrderVerifier) -> None:
        fill, rules = run.fill, self._rules.intake

        async def reopen(offset: int, end: int | None) -> Transfer:
            return await self._sources.open(fill.repository, fill.digest, offset, end)

        intake = Intake(fill, run.arrival.ingest, verifier, reopen, run.grant, rules)
        if fill.size is not None and fill.size >= rules.transfers.smallest:
            ranged = Ranged(fill, intake, reopen, self._extras, rules.transfers)
            await ranged.run(run.transfer, self._threads.movers)
        else:
            await intake.bring(Segment(0, run.granted), run.transfer, self._threads.movers)

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
        if isinstance(fault, WrongBytes):
            self.stats.wrong_digests += 1
            self._sources.blame(fill.origins, fill.digest)
        if not fill.proven:
            fill.fail(fault)

    def _judge_later(self, fill: Fill) -> None:
        """The last reader left."""
        asyncio.get_running_loop().call_later(self._rules.linger, self._judge, fill)

    def _judge(self, fill: Fill) -> None:
        if fill.followers or fill.settled or worth_finishing(fill.size, fill.received):
            return
        self.stats.abandoned += 1
        log.info("%s of %s: nobody reads it any more, dropped at %d bytes", fill.digest, fill.repository, fill.received)
        self._forget(fill)
        if fill.task is not None:
            fill.task.cancel()
