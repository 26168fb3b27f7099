"""The homes of content as ``start_cache`` composes them, on a loop that turns only while something is done; and what
upstream has, which is what everything that is held is compared with."""

import asyncio
import json
import tempfile
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import rmtree
from typing import Any, NamedTuple, TypeVar

from proxy.cache.body import HeldBody
from proxy.cache.holdings import Holdings, Provenance
from proxy.cache.lifecycle import Lifecycle, LifecycleRules, no_push_times
from proxy.cache.maintenance import Maintenance
from proxy.cache.pins import Pins
from proxy.cache.reconcile import reconcile
from proxy.cache.retention import Retention
from proxy.cache.scrub import Scrub
from proxy.cache.space import Space
from proxy.cache.threads import StoreThreads
from proxy.core.budget import Budget, ByteLimits, FreeSpaceRule, Reservation
from proxy.core.manifests import OCI_MANIFEST
from proxy.core.names import Digest, Repository, Tag
from proxy.storage.catalog import SqliteCatalog
from proxy.storage.contract import Content, Ingest, TagRecord
from proxy.storage.disk import DiskStore
from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs

T = TypeVar("T")
SOFT = 4000  # bytes


def manifest(layers: Sequence[bytes], salt: int) -> tuple[bytes, list[Digest]]:
    """The document and what it names."""
    parts = [Digest.of(layer) for layer in layers]
    document = {"mediaType": OCI_MANIFEST, "layers": [{"digest": part} for part in parts], "n": salt}
    return json.dumps(document).encode(), parts


async def _at_once(_: float) -> None:
    """A rest between two steps."""
    await asyncio.sleep(0)


class Known(NamedTuple):
    """What upstream has under a digest."""

    raw: bytes
    kind: str
    children: list[Digest]


class Arriving(NamedTuple):
    """A layer of which some bytes have come."""

    repository: Repository
    ingest: Ingest
    reservation: Reservation


class World:
    """Lives from ``open`` to ``end``, which is as hard as a kill; what is on disk outlives it until ``dispose``."""

    store: DiskStore
    catalog: SqliteCatalog
    holdings: Holdings
    pins: Pins
    retention: Retention
    space: Space
    scrub: Scrub
    maintenance: Maintenance

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="letting-go-"))
        self.clock = 1000.0
        self.known: dict[Digest, Known] = {}
        self.reading: list[tuple[Digest, HeldBody]] = []
        self.arriving: dict[Digest, Arriving] = {}
        self._loop = asyncio.new_event_loop()
        self._threads = ThreadPoolExecutor(2)
        self._over = asyncio.Event()
        self._life: asyncio.Task[None] | None = None
        self.open()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Until it is done."""
        return self._loop.run_until_complete(work)

    def dispose(self) -> None:
        self.end()
        self._threads.shutdown()
        self._loop.close()
        rmtree(self.folder)

    def end(self) -> None:
        """As far as the next start can tell, the process was killed."""
        for _, body in self.reading:
            body.close()
        assert self._life is not None
        self._over.set()
        self._loop.run_until_complete(self._life)
        self.run(self.catalog.close())
        self.store.close()

    def open(self) -> None:
        self.reading, self.arriving = [], {}
        self.run(self._open())

    async def _open(self) -> None:
        begun: asyncio.Future[asyncio.TaskGroup] = self._loop.create_future()
        self._over = asyncio.Event()
        self._life = asyncio.create_task(self._live(begun))
        await self._compose(await begun)

    async def _live(self, begun: "asyncio.Future[asyncio.TaskGroup]") -> None:
        """The task whose group owns all others."""
        async with task_group() as tasks:
            begun.set_result(tasks)
            await self._over.wait()

    async def _compose(self, tasks: asyncio.TaskGroup) -> None:
        now = lambda: self.clock  # noqa: E731
        self.store, self.catalog = DiskStore(self.folder), SqliteCatalog(self.folder)
        used = await self.catalog.contents.usage_by_upstream()
        budget = Budget(ByteLimits(SOFT), {name: each.size for name, each in used.items()})
        threads = StoreThreads(*[self._threads] * 4)
        self.holdings = Holdings(self.store, self.catalog, budget, threads, now)
        self.pins = Pins(self.catalog.notes, ())
        await self.pins.load()
        self.retention = Retention(self.holdings, self.pins, lambda digest: digest in self.arriving, tasks, _at_once)
        self.space = Space(self.holdings, self.retention, FreeSpaceRule(0, 0.0), lambda upstream: None, Jobs(tasks))
        lifecycle = Lifecycle(self.holdings, self.retention, LifecycleRules(), now, no_push_times)
        self.scrub = Scrub(self.holdings, now)
        self.maintenance = Maintenance(self.holdings, self.space, self.retention, lifecycle, self.scrub)

    # ------------------------------------------------ what pulls do

    async def pull(
        self, repository: Repository, tag: Tag | None, image: tuple[bytes, list[Digest]], kind: str, layers: list[bytes]
    ) -> None:
        raw, children = image
        if not await self.get(repository, raw, kind, children):
            return  # no room: it passed through
        if tag is not None:
            await self.catalog.tags.set(repository, tag, TagRecord(Digest.of(raw), self.clock))
        for layer in layers:
            await self.get(repository, layer)

    async def get(self, repository: Repository, raw: bytes, kind: str = "", children: Sequence[Digest] = ()) -> bool:
        """Whether it is held afterwards; what is held already is read, and compared."""
        digest = Digest.of(raw)
        self.known[digest] = Known(raw, kind, list(children))
        found = await self.holdings.find(repository, digest)
        if found is not None:
            read = await self.holdings.read(found.content)
            if read is not None:
                assert read == raw, "no wrong byte is ever given out"
                return True
        if digest in self.arriving:
            return False  # it would follow that fill
        reservation = await self.reserve(len(raw))
        if reservation is None:
            return False
        ingest = self.store.begin()
        ingest.write(0, raw)
        await self.commit(repository, digest, ingest, reservation)
        return True

    async def reserve(self, size: int) -> Reservation | None:
        budget = self.holdings.budget
        if budget.used + size > budget.limits.hard:
            await self.space.evict(budget.excess(size))
        return budget.reserve(size)

    async def commit(self, repository: Repository, digest: Digest, ingest: Ingest, reservation: Reservation) -> None:
        raw, kind, children = self.known[digest]
        fresh = Content(digest, len(raw), kind, self.clock, self.clock, repository.upstream)
        await self.holdings.commit(ingest, fresh, Provenance(repository, children), reservation)

    # ------------------------------------------------ what starts do

    async def recover(self) -> None:
        await self.holdings.clear_tombstones()
        first = await reconcile(self.holdings, lambda digest: False, self.clock)
        assert (first.adopted, first.forgotten, first.quarantined) == (0, 0, 0), "the books were finished, not guessed"
        assert await self.holdings.clear_tombstones() == 0
        self.store.sweep()
        assert self.store.sweep() == 0

    # ------------------------------------------------ what can be seen

    def files(self) -> dict[Digest, int]:
        """What lies in the store, with its size in bytes."""
        return {
            Digest.parse(f"{path.parent.parent.name}:{path.name}"): path.stat().st_size
            for path in (self.folder / "blobs").glob("*/*/*")
        }

    def in_use(self, digest: Digest) -> bool:
        return digest in self.arriving or any(digest == each for each, _ in self.reading)

    async def stays(self, digest: Digest) -> bool:
        """It may: it is pinned, or something that hangs on it is in use."""
        closure = (await self.catalog.contents.closure([digest])).nodes
        parts = {part for node in closure for part in (node.digest, *node.children)}
        return any(map(self.in_use, parts)) or any(
            self.pins.keep(node, place) for node in closure for place in node.places
        )
