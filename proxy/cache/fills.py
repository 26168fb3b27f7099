"""The fills under way: opening them, running them, letting go of those that nobody waits for."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from cachetools import TTLCache

from proxy.cache.fill import Fill, FillBody
from proxy.cache.holdings import Holdings, Provenance
from proxy.cache.in_order_verifier import InOrderVerifier
from proxy.cache.intake import Intake, IntakeRules, Source
from proxy.cache.pass_through import PassThrough
from proxy.cache.ranged import Extras
from proxy.cache.space import Space
from proxy.cache.threads import Threads
from proxy.core.budget import Reservation
from proxy.core.errors import Fault, NoSpace, Overloaded, StoreFailed, UpstreamBroken
from proxy.core.hashing import Hasher
from proxy.core.names import Digest, Repository
from proxy.storage.contract import Content, Ingest
from proxy.upstream.contract import Registry, Transfer

_STEP = 64 << 20  # bytes reserved at a time for a blob whose size upstream does not say
_WORTH_FINISHING = 256 << 20

log = logging.getLogger("entrepot.fill")


@dataclass(frozen=True, slots=True)
class FillRules:
    at_once: int = 64
    queue: int = 512  # waiting for one of those places
    largest: int = 52 << 30  # bytes; above, a blob passes through
    distrust: float = 300.0  # seconds that an upstream is not asked again for a digest that it sent wrong bytes for
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


@dataclass(slots=True)
class OpenedFill:
    """A fill to follow, or one transfer that cannot be kept, for the first who takes it."""

    fill: Fill | None
    transfer: Transfer | None = None

    def take(self) -> Transfer | None:
        taken, self.transfer = self.transfer, None
        return taken


def worth_finishing(size: int | None, received: int) -> bool:
    """Should a fill that nobody reads go on? When little is left, or most is there."""
    if size is None:
        return received <= _WORTH_FINISHING
    return size - received <= _WORTH_FINISHING or received * 2 >= size


@dataclass(slots=True)
class _Run:
    """What one fill owns until it ends."""

    fill: Fill
    ingest: Ingest
    reservation: Reservation
    granted: int  # bytes of it
    largest: int  # that may be granted
    transfer: Transfer = field(repr=False)


class Fills:
    """At most one fill per digest. ``registry(upstream)`` gives the registry of a configured upstream."""

    def __init__(
        self,
        holdings: Holdings,
        space: Space,
        registry: Callable[[str], Registry],
        rules: FillRules,
        threads: Threads,
        tasks: asyncio.TaskGroup,
        now: Callable[[], float],
    ) -> None:
        self.stats = FillStats()
        self._holdings = holdings
        self._space = space
        self._registry = registry
        self._rules = rules
        self._threads = threads
        self._tasks = tasks
        self._now = now
        self._arriving: dict[Digest, Fill] = {}
        self._places = asyncio.Semaphore(rules.at_once)
        self._queued = 0
        self._extras = Extras(threads.extra, threads.extras, now)
        self._distrusted: TTLCache[tuple[str, Digest], bool] = TTLCache(10_000, rules.distrust, timer=now)

    def __len__(self) -> int:
        return len(self._arriving)

    def get(self, digest: Digest) -> Fill | None:
        return self._arriving.get(digest)

    def follow(self, fill: Fill) -> FillBody | None:
        """None when it is over and its file is closed."""

        async def carry_on(verifier: Hasher) -> PassThrough:
            return await self.pass_through(fill.repository, verifier)

        return fill.follow(carry_on)

    async def pass_through(
        self, repository: Repository, verifier: Hasher, transfer: Transfer | None = None
    ) -> PassThrough:
        """The rest of a blob from where ``proof`` ends, for one client."""
        if transfer is None:
            transfer = await self._registry(repository.upstream).blob(repository.name, verifier.digest, verifier.count)
        return PassThrough(transfer, verifier, self._threads.pass_through, repository.upstream)

    async def open(self, repository: Repository, digest: Digest) -> OpenedFill:
        """Asks upstream and starts the fill; call it in a flight. Raises BlobUnknown, NameUnknown, Overloaded, and
        upstream's faults."""
        if (repository.upstream, digest) in self._distrusted:
            raise UpstreamBroken(repository.upstream, f"sent wrong bytes for {digest} a moment ago")
        if self._places.locked() and self._queued >= self._rules.queue:
            raise Overloaded(f"{self._queued} blobs wait for one of {self._rules.at_once} places")
        self._queued += 1
        try:
            await self._places.acquire()
        finally:
            self._queued -= 1
        try:
            transfer = await self._registry(repository.upstream).blob(repository.name, digest)
            run = await self._prepare(repository, digest, transfer)
        except BaseException:
            self._places.release()
            raise
        if run is None:
            self._places.release()
            return OpenedFill(None, transfer)
        self._arriving[digest] = run.fill
        task = self._tasks.create_task(self._run(run))
        # A callback, since a task that is cancelled before its first step never reaches a finally of its own.
        task.add_done_callback(lambda _: self._ended(run))
        run.fill.left = lambda: self._judge_later(run.fill, task)
        return OpenedFill(run.fill)

    async def _prepare(self, repository: Repository, digest: Digest, transfer: Transfer) -> _Run | None:
        """Room and an ingest; None where the blob cannot be kept."""
        reservation: Reservation | None = None
        try:
            largest = min(self._space.largest(repository.upstream), self._rules.largest)
            if transfer.size is not None and transfer.size > largest:
                log.warning("%s of %s: %d bytes pass through, at most %d are cached", digest, repository,
                            transfer.size, largest)  # fmt: skip
                return None
            granted = min(_STEP, largest) if transfer.size is None else transfer.size
            reservation = await self._space.reserve(granted, repository.upstream)
            if reservation is None:
                log.warning("%s of %s passes through: no room below max_size or min_free", digest, repository)
                return None
            ingest = await self._holdings.begin()
            fill = Fill(repository, digest, transfer.size, ingest)
            return _Run(fill, ingest, reservation, granted, largest, transfer)
        except (NoSpace, StoreFailed) as cause:
            log.error("%s of %s passes through: %s", digest, repository, cause)
            if reservation is not None:
                reservation.release()
            return None
        except BaseException:
            transfer.close()
            if reservation is not None:
                reservation.release()
            raise

    async def _run(self, run: _Run) -> None:
        """Never raises but when cancelled: a failed fill must not take its siblings down."""
        fill = run.fill
        self.stats.started += 1
        try:
            await self._fill(run)
        except Fault as fault:
            self._failed(fill, fault)
        except Exception:
            log.exception("%s of %s", fill.digest, fill.repository)
            self._failed(fill, StoreFailed("an unforeseen failure; see the log"))
        finally:
            self._forget(fill)

    def _ended(self, run: _Run) -> None:
        """However it ended, and even if it never began."""
        self._forget(run.fill)
        if not run.fill.settled:
            run.fill.fail(Overloaded("the fill was stopped"))
        run.fill.end()
        run.transfer.close()
        run.reservation.release()
        self._places.release()
        # In the pool's own time: nothing waits for it.
        self._threads.store.removing.submit(run.ingest.abort)

    def _forget(self, fill: Fill) -> None:
        if self._arriving.get(fill.digest) is fill:
            del self._arriving[fill.digest]

    async def _fill(self, run: _Run) -> None:
        fill, registry = run.fill, self._registry(run.fill.repository.upstream)

        async def reopen(offset: int, end: int | None) -> Transfer:
            return await registry.blob(fill.repository.name, fill.digest, offset, end)

        async def grant(wanted: int) -> int:
            more = min(wanted, run.largest - run.granted)
            if more <= 0 or not await self._space.extend(run.reservation, more):
                return 0
            run.granted += more
            return more

        verifier = InOrderVerifier(Hasher(fill.digest), fill.reader, fill.arrived_from, self._threads.provers)
        source = Source(reopen, grant, self._extras)
        intake = Intake(fill, run.ingest, verifier, self._threads.movers, source)
        if not await intake.run(run.transfer, run.granted, self._rules.intake):
            self.stats.spilled += 1
            log.error("%s of %s: no room for more of it, readers carry on uncached", fill.digest, fill.repository)
            return
        assert fill.size is not None
        now = self._now()
        content = Content(fill.digest, fill.size, "", now, now, fill.repository.upstream)
        await self._holdings.commit(run.ingest, content, Provenance(fill.repository), run.reservation)
        self.stats.completed += 1

    def _failed(self, fill: Fill, fault: Fault) -> None:
        self.stats.failed += 1
        log.warning("%s of %s after %d bytes: %s", fill.digest, fill.repository, fill.received, fault)
        if isinstance(fault, UpstreamBroken):
            self.stats.wrong_digests += 1
            self._distrusted[fill.repository.upstream, fill.digest] = True
        if not fill.proven:
            fill.fail(fault)

    def _judge_later(self, fill: Fill, task: asyncio.Task[None]) -> None:
        asyncio.get_running_loop().call_later(self._rules.linger, self._judge, fill, task)

    def _judge(self, fill: Fill, task: asyncio.Task[None]) -> None:
        if fill.followers or fill.settled or worth_finishing(fill.size, fill.received):
            return
        self.stats.abandoned += 1
        log.info("%s of %s: nobody reads it any more, dropped at %d bytes", fill.digest, fill.repository, fill.received)
        self._forget(fill)
        task.cancel()
