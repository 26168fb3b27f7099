"""Any order of pulls, moved tags, expiries, evictions, pins, reads, fills, damages, crashes and restarts, over the real
homes.

After each step: catalog and disk and budget agree, the hard limit is kept, nothing is left in parts that a kept image
needs, nothing that is pinned or being read is gone, and finishing, evicting or scrubbing again changes nothing.
"""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy.cache.body import HeldBody
from proxy.cache.holdings import Holdings, Provenance
from proxy.cache.lifecycle import Lifecycle, LifecycleRules, no_push_times
from proxy.cache.maintenance import Maintenance
from proxy.cache.pins import Pins
from proxy.cache.reconcile import reconcile
from proxy.cache.retention import Retention
from proxy.cache.scrub import Scrub
from proxy.cache.space import FreeSpaceRule, Space
from proxy.cache.threads import StoreThreads
from proxy.core.budget import Budget, ByteLimits, Reservation
from proxy.core.graph import Membership
from proxy.core.manifests import OCI_INDEX, OCI_MANIFEST
from proxy.core.names import Digest, Repository, Tag
from proxy.storage.catalog import SqliteCatalog
from proxy.storage.contract import FIRST_CURSOR, Content, EvictionClass, Ingest, TagRecord
from proxy.storage.disk import DiskStore

T = TypeVar("T")
REPOSITORIES = [Repository("one.test", "a"), Repository("one.test", "b"), Repository("two.test", "a")]
TAGS = [Tag("v1"), Tag("v2")]
SOFT = 4000
STORIES = int(os.environ.get("ENTREPOT_TEST_STORIES", "200"))  # a night's run takes thousands
LAYERS = [bytes([number]) * (100 + 40 * number) for number in range(6)]
repositories, tags = st.sampled_from(REPOSITORIES), st.sampled_from(TAGS)
some_layers = st.lists(st.sampled_from(LAYERS), min_size=1, max_size=3, unique=True)


def manifest(layers: list[bytes], salt: int) -> tuple[bytes, list[Digest]]:
    parts = [Digest.of(layer) for layer in layers]
    return json.dumps(
        {"mediaType": OCI_MANIFEST, "layers": [{"digest": part} for part in parts], "n": salt}
    ).encode(), parts


async def at_once(_: float) -> None:
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


class Story(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="letting-go-"))
        self.loop = asyncio.new_event_loop()
        self.threads = ThreadPoolExecutor(2)
        self.clock = 1000.0
        self.known: dict[Digest, Known] = {}
        self._open()

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self._end()
            self.threads.shutdown()
            self.loop.close()
            shutil.rmtree(self.folder)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        async def within() -> T:
            async with asyncio.TaskGroup() as tasks:
                self.retention._steps._group = tasks
                return await work

        return self.loop.run_until_complete(within())

    def _end(self) -> None:
        """As far as the next start can tell, the process was killed."""
        for _, body in self.reading:
            body.close()
        self.run(self.catalog.close())
        self.store.close()

    def _open(self) -> None:
        self.reading: list[tuple[Digest, HeldBody]] = []
        self.arriving: dict[Digest, Arriving] = {}
        self.store, self.catalog = DiskStore(self.folder), SqliteCatalog(self.folder)
        used = self.loop.run_until_complete(self.catalog.contents.usage_by_upstream())
        budget = Budget(ByteLimits(SOFT), {name: each.size for name, each in used.items()})
        threads = StoreThreads(*[self.threads] * 4)
        self.holdings = Holdings(self.store, self.catalog, budget, threads, lambda: self.clock)
        self.pins = Pins(self.catalog.notes, ())
        self.loop.run_until_complete(self.pins.load())
        tasks: Any = None  # each run brings its own
        self.retention = Retention(self.holdings, self.pins, lambda digest: digest in self.arriving, tasks, at_once)
        self.space = Space(self.holdings, self.retention, FreeSpaceRule(0, 0.0), lambda upstream: None, tasks)
        lifecycle = Lifecycle(self.holdings, self.retention, LifecycleRules(), lambda: self.clock, no_push_times)
        self.scrub = Scrub(self.holdings, lambda: self.clock)
        self.maintenance = Maintenance(self.holdings, self.space, self.retention, lifecycle, self.scrub)

    # ------------------------------------------------ what happens

    @rule(repository=repositories, tag=st.none() | tags, layers=some_layers, salt=st.integers(0, 3))
    def pull(self, repository: Repository, tag: Tag | None, layers: list[bytes], salt: int) -> None:
        self.clock += 1
        self.run(self._pull(repository, tag, *manifest(layers, salt), OCI_MANIFEST, layers))

    @rule(repository=repositories, tag=tags, first=some_layers, second=some_layers)
    def pull_index(self, repository: Repository, tag: Tag, first: list[bytes], second: list[bytes]) -> None:
        self.clock += 1
        children = [manifest(first, 8), manifest(second, 9)]
        digests = [Digest.of(raw) for raw, _ in children]
        raw = json.dumps({"mediaType": OCI_INDEX, "manifests": [{"digest": digest} for digest in digests]}).encode()

        async def all_of_it() -> None:
            await self._pull(repository, tag, raw, digests, OCI_INDEX, [])
            for (child, parts), layers in zip(children, (first, second), strict=True):
                await self._pull(repository, None, child, parts, OCI_MANIFEST, layers)

        self.run(all_of_it())

    async def _pull(
        self,
        repository: Repository,
        tag: Tag | None,
        raw: bytes,
        children: list[Digest],
        kind: str,
        layers: list[bytes],
    ) -> None:
        if not await self._get(repository, raw, kind, children):
            return  # no room: it passed through
        if tag is not None:
            await self.catalog.tags.set(repository, tag, TagRecord(Digest.of(raw), self.clock))
        for layer in layers:
            await self._get(repository, layer, "", [])

    async def _get(self, repository: Repository, raw: bytes, kind: str, children: list[Digest]) -> bool:
        digest = Digest.of(raw)
        self.known[digest] = Known(raw, kind, children)
        found = await self.holdings.find(repository, digest)
        if found is not None:
            read = await self.holdings.read(found.content)
            if read is not None:
                assert read == raw, "no wrong byte is ever given out"
                return True
        if digest in self.arriving:
            return False  # it would follow that fill
        reservation = await self._reserve(len(raw))
        if reservation is None:
            return False
        ingest = self.store.begin()
        ingest.write(0, raw)
        fresh = Content(digest, len(raw), kind, self.clock, self.clock, repository.upstream)
        await self.holdings.commit(ingest, fresh, Provenance(repository, children), reservation)
        return True

    async def _reserve(self, size: int) -> Reservation | None:
        budget = self.holdings.budget
        if budget.used + size > budget.limits.hard:
            await self.space.evict(budget.excess(size))
        return budget.reserve(size)

    @rule(repository=repositories, layer=st.sampled_from(LAYERS))
    def begin_a_fill(self, repository: Repository, layer: bytes) -> None:
        digest = Digest.of(layer)

        async def begin() -> None:
            if digest in self.arriving or await self.catalog.contents.get(digest) is not None:
                return
            reservation = await self._reserve(len(layer))
            if reservation is not None:
                ingest = self.store.begin()
                ingest.write(0, layer[:50])
                self.arriving[digest] = Arriving(repository, ingest, reservation)
                self.known[digest] = Known(layer, "", [])

        self.run(begin())

    @precondition(lambda self: self.arriving)
    @rule(good=st.booleans())
    def end_a_fill(self, good: bool) -> None:
        digest, (repository, ingest, reservation) = next(iter(self.arriving.items()))
        raw = self.known[digest].raw

        async def end() -> None:
            if good:
                ingest.write(50, raw[50:])
                fresh = Content(digest, len(raw), "", self.clock, self.clock, repository.upstream)
                await self.holdings.commit(ingest, fresh, Provenance(repository), reservation)
            else:
                ingest.abort()
                reservation.release()
            del self.arriving[digest]

        self.run(end())

    @rule(choice=st.integers(0, 99))
    def begin_to_read(self, choice: int) -> None:
        async def begin() -> None:
            held = await self.catalog.contents.between("", "t")
            if held:
                content = held[choice % len(held)]
                body = await self.holdings.open(content)
                assert body is not None
                self.reading.append((content.digest, body))

        self.run(begin())

    @precondition(lambda self: self.reading)
    @rule()
    def read_to_the_end(self) -> None:
        digest, body = self.reading.pop(0)
        assert body.reader.read(0, 10_000) == self.known[digest].raw, "whatever went in the meantime"
        body.close()

    @rule(repository=repositories)
    def expire_the_oldest(self, repository: Repository) -> None:
        async def expire() -> None:
            images = await self.catalog.contents.images(repository, "", 100)
            oldest = sorted(images, key=lambda image: image.cached_at)[:2]
            await self.retention.expire([Membership(repository, image.content.digest) for image in oldest])

        self.run(expire())

    @rule(wanted=st.integers(1, 3000))
    def evict(self, wanted: int) -> None:
        """The shortest run of the order that suffices; nothing later than what stayed ahead of it."""

        async def evict() -> None:
            await self.holdings.flush()
            idle = self.catalog.contents.idle
            before = await idle(EvictionClass.IMAGES, FIRST_CURSOR, 1000)
            bound = {content.digest for content in before if await self._stays(content.digest)}
            freed = await self.space.evict(wanted)
            after = {
                content.digest for content in await self.catalog.contents.idle(EvictionClass.IMAGES, FIRST_CURSOR, 1000)
            }
            gone = [content.digest not in after for content in before if content.digest not in bound]
            assert gone == sorted(gone, reverse=True)
            orphans = await idle(EvictionClass.ORPHANS, FIRST_CURSOR, 1000)
            left = [content for content in before if content.digest in after and content.digest not in bound]
            assert freed >= wanted or not (left or [each for each in orphans if not self._in_use(each.digest)])

        self.run(evict())

    @rule()
    def shrink(self) -> None:
        """Once is enough."""
        self.run(self.space.shrink())
        before = self._files()
        self.run(self.space.shrink())
        assert self._files() == before

    @rule(repository=repositories, tag=tags)
    def pin(self, repository: Repository, tag: Tag) -> None:
        self.run(self.pins.add(f"{repository}:{tag}"))

    @rule(repository=repositories, tag=tags)
    def unpin(self, repository: Repository, tag: Tag) -> None:
        self.run(self.pins.remove(f"{repository}:{tag}"))

    @precondition(lambda self: self._files())
    @rule(choice=st.integers(0, 99), how=st.sampled_from(["gone", "short", "longer", "flipped"]), scrub=st.booleans())
    def damage(self, choice: int, how: str, scrub: bool) -> None:
        """One file that nobody reads; a scrub must find it, or the next pull of it must heal it at once."""
        files = sorted(digest for digest in self._files() if not self.holdings.is_open(digest))
        if not files:
            return
        digest = files[choice % len(files)]
        path = self.folder / "blobs" / digest.algorithm / digest.encoded[:2] / digest.encoded
        content = path.read_bytes()
        path.chmod(0o644)
        match how:
            case "gone":
                path.unlink()
            case "short":
                path.write_bytes(content[:-1])
            case "longer":
                path.write_bytes(content + b"x")
            case "flipped":
                seal = path.stat().st_mtime_ns
                path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
                os.utime(path, ns=(seal, seal))
        self.holdings._bytes.clear()
        self.run(self._scrubbed() if scrub else self._healed(digest))

    async def _scrubbed(self) -> None:
        found = [checked.good async for checked in self.scrub.verify(1e12)]
        assert found.count(False) == 1
        assert all([checked.good async for checked in self.scrub.verify(1e12)])

    async def _healed(self, digest: Digest) -> None:
        places = [place for node in (await self.catalog.contents.closure([digest])).nodes for place in node.places]
        if not places:
            await self._scrubbed()
            return
        assert await self._get(places[0].repository, *self.known[digest]), "its own bytes made room for it"
        assert self._files()[digest] == len(self.known[digest].raw)

    @rule(settle=st.booleans())
    def restart(self, settle: bool) -> None:
        """Politely, or as a process that is killed: what was only in memory is lost."""
        if settle:
            self.run(self.holdings.flush())
        self._end()
        self._open()
        self.run(self._recover())

    @rule(repository=repositories, unlinked=st.integers(0, 2))
    def crash_in_the_middle_of_letting_go(self, repository: Repository, unlinked: int) -> None:
        """The catalog knows, some files are gone, the rest is not; then the next start."""
        store, rest = self.store, unlinked

        class Dying:
            def remove(self, digest: Digest) -> None:
                nonlocal rest
                if rest > 0:
                    rest -= 1
                    store.remove(digest)
                    return
                raise Killed

        class Killed(BaseException):
            pass

        async def die() -> None:
            images = await self.catalog.contents.images(repository, "", 3)
            memberships = [Membership(repository, image.content.digest) for image in images]
            removals = await self.catalog.contents.closure([membership.digest for membership in memberships])
            removal, _ = self.retention._graph(removals.nodes).expire(memberships)
            freed = [node.digest for node in removal.freed]
            assert await self.catalog.contents.release(sorted(removal.memberships), freed, removals) is not None
            dying = Dying()
            try:
                for node in removal.freed:
                    dying.remove(node.digest)
            except Killed:
                pass

        self.run(die())
        self._end()
        self._open()
        self.run(self._recover())

    async def _recover(self) -> None:
        await self.holdings.clear_tombstones()
        first = await reconcile(self.holdings, lambda digest: False, self.clock)
        assert (first.adopted, first.forgotten, first.quarantined) == (0, 0, 0), "the books were finished, not guessed"
        assert await self.holdings.clear_tombstones() == 0
        self.store.sweep()
        assert self.store.sweep() == 0

    async def _stays(self, digest: Digest) -> bool:
        """It may: it is pinned, or something that hangs on it is in use."""
        closure = (await self.catalog.contents.closure([digest])).nodes
        parts = {part for node in closure for part in (node.digest, *node.children)}
        return any(map(self._in_use, parts)) or any(
            self.pins.keep(node, place) for node in closure for place in node.places
        )

    def _in_use(self, digest: Digest) -> bool:
        return digest in self.arriving or any(digest == each for each, _ in self.reading)

    def _files(self) -> dict[Digest, int]:
        """What lies in the store, with its size in bytes."""
        return {
            Digest.parse(f"{path.parent.parent.name}:{path.name}"): path.stat().st_size
            for path in (self.folder / "blobs").glob("*/*/*")
        }

    # ------------------------------------------------ what holds

    @invariant()
    def the_books_are_the_disk(self) -> None:
        if not hasattr(self, "folder"):
            return
        files = self._files()
        assert {digest for digest, _ in self.reading} <= set(files), "what is being read stays"
        held = self.run(self.catalog.contents.between("", "t"))
        assert {content.digest: content.size for content in held} == files
        budget = self.holdings.budget
        arriving = sum(len(self.known[digest].raw) for digest in self.arriving)
        assert (budget.committed, budget.reserved) == (sum(files.values()), arriving)
        assert budget.used <= budget.limits.hard
        usage = self.run(self.catalog.contents.usage_by_upstream())
        assert {name: each.size for name, each in usage.items() if each.size} == +self.holdings.budget.committed_by

    @invariant()
    def counts_and_marks_are_what_they_count_and_mark(self) -> None:
        if not hasattr(self, "folder"):
            return

        async def look() -> None:
            held = {content.digest: content for content in await self.catalog.contents.between("", "t")}
            nodes = {node.digest: node for node in (await self.catalog.contents.closure(sorted(held))).nodes}
            assert set(nodes) == set(held)
            for digest, node in nodes.items():
                assert node.parents == sum(digest in other.children for other in nodes.values())
            for repository in REPOSITORIES:
                images = {image.content.digest for image in await self.catalog.contents.images(repository, "", 1000)}
                seated = {
                    d for d, n in nodes.items() if n.is_manifest and any(p.repository == repository for p in n.places)
                }
                assert images == seated

        self.run(look())


TestStory = pytest.mark.timeout(STORIES * 5)(Story.TestCase)
TestStory.settings = settings(
    max_examples=STORIES, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
