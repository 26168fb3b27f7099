"""What may happen, in any order, and what holds after each step."""

import json

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy.core.graph import Membership, Removed
from proxy.core.manifests import OCI_INDEX, OCI_MANIFEST
from proxy.core.names import Digest, Repository, Tag
from proxy.storage.contract import FIRST_CURSOR, EvictionClass
from tests.cache.stories.damage import KINDS, damage
from tests.cache.stories.world import Arriving, Known, World, manifest

REPOSITORIES = [Repository("one.test", "a"), Repository("one.test", "b"), Repository("two.test", "a")]
TAGS = [Tag("v1"), Tag("v2")]
LAYERS = [bytes([number]) * (100 + 40 * number) for number in range(6)]
repositories, tags = st.sampled_from(REPOSITORIES), st.sampled_from(TAGS)
some_layers = st.lists(st.sampled_from(LAYERS), min_size=1, max_size=3, unique=True)


class Story(RuleBasedStateMachine):
    world: World

    @initialize()
    def begin(self) -> None:
        self.world = World()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.dispose()

    # ------------------------------------------------ pulls and fills

    @rule(repository=repositories, tag=st.none() | tags, layers=some_layers, salt=st.integers(0, 3))
    def pull(self, repository: Repository, tag: Tag | None, layers: list[bytes], salt: int) -> None:
        self.world.clock += 1
        self.world.run(self.world.pull(repository, tag, manifest(layers, salt), OCI_MANIFEST, layers))

    @rule(repository=repositories, tag=tags, first=some_layers, second=some_layers)
    def pull_index(self, repository: Repository, tag: Tag, first: list[bytes], second: list[bytes]) -> None:
        world = self.world
        world.clock += 1
        children = [manifest(first, 8), manifest(second, 9)]
        digests = [Digest.of(raw) for raw, _ in children]
        raw = json.dumps({"mediaType": OCI_INDEX, "manifests": [{"digest": digest} for digest in digests]}).encode()

        async def all_of_it() -> None:
            await world.pull(repository, tag, (raw, digests), OCI_INDEX, [])
            for child, layers in zip(children, (first, second), strict=True):
                await world.pull(repository, None, child, OCI_MANIFEST, layers)

        world.run(all_of_it())

    @rule(repository=repositories, layer=st.sampled_from(LAYERS))
    def begin_a_fill(self, repository: Repository, layer: bytes) -> None:
        world, digest = self.world, Digest.of(layer)

        async def begin() -> None:
            if digest in world.arriving or await world.catalog.contents.get(digest) is not None:
                return
            reservation = await world.reserve(len(layer))
            if reservation is not None:
                ingest = world.store.begin()
                ingest.write(0, layer[:50])
                world.arriving[digest] = Arriving(repository, ingest, reservation)
                world.known[digest] = Known(layer, "", [])

        world.run(begin())

    @precondition(lambda self: self.world.arriving)
    @rule(good=st.booleans())
    def end_a_fill(self, good: bool) -> None:
        world = self.world
        digest, (repository, ingest, reservation) = next(iter(world.arriving.items()))

        async def end() -> None:
            if good:
                ingest.write(50, world.known[digest].raw[50:])
                await world.commit(repository, digest, ingest, reservation)
            else:
                ingest.abort()
                reservation.release()
            del world.arriving[digest]

        world.run(end())

    # ------------------------------------------------ readers

    @rule(choice=st.integers(0, 99))
    def begin_to_read(self, choice: int) -> None:
        world = self.world

        async def begin() -> None:
            held = await world.catalog.contents.between("", "t")
            if held:
                content = held[choice % len(held)]
                body = await world.holdings.open(content)
                assert body is not None
                world.reading.append((content.digest, body))

        world.run(begin())

    @precondition(lambda self: self.world.reading)
    @rule()
    def read_to_the_end(self) -> None:
        digest, body = self.world.reading.pop(0)
        assert body.reader.read(0, 10_000) == self.world.known[digest].raw, "whatever went in the meantime"
        body.close()

    # ------------------------------------------------ what lets go

    @rule(repository=repositories)
    def expire_the_oldest(self, repository: Repository) -> None:
        world = self.world

        async def expire() -> None:
            images = await world.catalog.contents.images(repository, "", 100)
            oldest = sorted(images, key=lambda image: image.cached_at)[:2]
            await world.retention.expire([Membership(repository, image.content.digest) for image in oldest])

        world.run(expire())

    @rule(wanted=st.integers(1, 3000))
    def evict(self, wanted: int) -> None:
        """The shortest run of the order that suffices; nothing later than what stayed ahead of it."""
        world = self.world

        async def evict() -> None:
            await world.holdings.flush()
            before = await world.catalog.contents.idle(EvictionClass.IMAGES, FIRST_CURSOR, 1000)
            bound = {content.digest for content in before if await world.stays(content.digest)}
            freed = await world.space.evict(wanted)
            after = {
                content.digest
                for content in await world.catalog.contents.idle(EvictionClass.IMAGES, FIRST_CURSOR, 1000)
            }
            gone = [content.digest not in after for content in before if content.digest not in bound]
            assert gone == sorted(gone, reverse=True)
            orphans = await world.catalog.contents.idle(EvictionClass.ORPHANS, FIRST_CURSOR, 1000)
            left = [content for content in before if content.digest in after and content.digest not in bound]
            assert freed >= wanted or not (left or [each for each in orphans if not world.in_use(each.digest)])

        world.run(evict())

    @rule()
    def shrink(self) -> None:
        """Once is enough."""
        self.world.run(self.world.space.shrink())
        before = self.world.files()
        self.world.run(self.world.space.shrink())
        assert self.world.files() == before

    @rule(repository=repositories, tag=tags)
    def pin(self, repository: Repository, tag: Tag) -> None:
        self.world.run(self.world.pins.add(f"{repository}:{tag}"))

    @rule(repository=repositories, tag=tags)
    def unpin(self, repository: Repository, tag: Tag) -> None:
        self.world.run(self.world.pins.remove(f"{repository}:{tag}"))

    # ------------------------------------------------ damages, crashes, restarts

    @precondition(lambda self: self.world.files())
    @rule(choice=st.integers(0, 99), kind=st.sampled_from(KINDS), scrub=st.booleans())
    def damage(self, choice: int, kind: str, scrub: bool) -> None:
        """One file that nobody reads; a scrub must find it, or the next pull of it must heal it at once."""
        world = self.world
        files = sorted(digest for digest in world.files() if not world.holdings.is_open(digest))
        if not files:
            return
        digest = files[choice % len(files)]
        damage(world.folder / "blobs" / digest.algorithm / digest.encoded[:2] / digest.encoded, kind)
        world.holdings._bytes.pop(digest)  # so much else was read since that it is not in memory
        world.run(self._scrubbed() if scrub else self._healed(digest))

    async def _scrubbed(self) -> None:
        found = [checked.good async for checked in self.world.scrub.verify(1e12)]
        assert found.count(False) == 1
        assert all([checked.good async for checked in self.world.scrub.verify(1e12)])

    async def _healed(self, digest: Digest) -> None:
        world = self.world
        places = [place for node in (await world.catalog.contents.closure([digest])).nodes for place in node.places]
        if not places:
            await self._scrubbed()
            return
        assert await world.get(places[0].repository, *world.known[digest]), "its own bytes made room for it"
        assert world.files()[digest] == len(world.known[digest].raw)

    @rule(settle=st.booleans())
    def restart(self, settle: bool) -> None:
        """Politely, or as a process that is killed: what was only in memory is lost."""
        if settle:
            self.world.run(self.world.holdings.flush())
        self._begin_again()

    @rule(repository=repositories, unlinked=st.integers(0, 2))
    def crash_in_the_middle_of_letting_go(self, repository: Repository, unlinked: int) -> None:
        """The catalog knows, some files are gone, the rest is not; then the next start."""
        world = self.world

        async def die() -> None:
            images = await world.catalog.contents.images(repository, "", 3)
            memberships = [Membership(repository, image.content.digest) for image in images]
            closure = await world.catalog.contents.closure([membership.digest for membership in memberships])
            removal, _ = await world.retention.weigh(memberships, Removed())
            freed = [node.digest for node in removal.freed]
            assert await world.catalog.contents.release(sorted(removal.memberships), freed, closure) is not None
            for node in removal.freed[:unlinked]:
                world.store.remove(node.digest)

        world.run(die())
        self._begin_again()

    def _begin_again(self) -> None:
        self.world.end()
        self.world.open()
        self.world.run(self.world.recover())

    # ------------------------------------------------ what holds

    @invariant()
    def the_books_are_the_disk(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        files = world.files()
        assert {digest for digest, _ in world.reading} <= set(files), "what is being read stays"
        held = world.run(world.catalog.contents.between("", "t"))
        assert {content.digest: content.size for content in held} == files
        budget = world.holdings.budget
        arriving = sum(len(world.known[digest].raw) for digest in world.arriving)
        assert (budget.committed, budget.reserved) == (sum(files.values()), arriving)
        assert budget.used <= budget.limits.hard
        usage = world.run(world.catalog.contents.usage_by_upstream())
        assert {name: each.size for name, each in usage.items() if each.size} == +world.holdings.budget.committed_by

    @invariant()
    def counts_and_marks_are_what_they_count_and_mark(self) -> None:
        if hasattr(self, "world"):
            self.world.run(self._look())

    async def _look(self) -> None:
        catalog = self.world.catalog
        held = {content.digest: content for content in await catalog.contents.between("", "t")}
        nodes = {node.digest: node for node in (await catalog.contents.closure(sorted(held))).nodes}
        assert set(nodes) == set(held)
        for digest, node in nodes.items():
            assert node.parents == sum(digest in other.children for other in nodes.values())
        for repository in REPOSITORIES:
            images = {image.content.digest for image in await catalog.contents.images(repository, "", 1000)}
            belong = {
                d for d, n in nodes.items() if n.is_manifest and any(p.repository == repository for p in n.places)
            }
            assert images == belong
