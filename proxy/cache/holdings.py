"""What we hold: the store, the catalog, the budget and the hot part of them in memory, kept in step.

Invariant: the budget's committed bytes are those of the catalog and of ``removals``, and every way to add or drop
content leads through here.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from itertools import islice
from typing import NamedTuple, TypeVar

from cachetools import LRUCache

from proxy.cache.body import HeldBody
from proxy.cache.generations import Generations
from proxy.cache.threads import acquire
from proxy.cache.tombstones import Tombstones
from proxy.core.budget import Budget, Reservation
from proxy.core.errors import ContentMissing
from proxy.core.graph import Node, Removal
from proxy.core.names import Digest, Repository, Tag
from proxy.storage.contract import BlobStore, Catalog, Content, Ingest

log = logging.getLogger("entrepot.holdings")

T = TypeVar("T")
_HOT_ENTRIES = 50_000
_HOT_BYTES = 64 << 20
_HOT_REPOSITORIES = 64  # of one digest
_MARKS = 500  # of last use, written at once


class Provenance(NamedTuple):
    """Through which repository content came, and what it refers to if it is a manifest."""

    repository: Repository
    children: Sequence[Digest] = ()


class Holdings:
    """Marks of last use stay in memory until ``flush``; content that is open is never a victim."""

    def __init__(
        self, store: BlobStore, catalog: Catalog, budget: Budget, threads: Executor, now: Callable[[], float]
    ) -> None:
        self.generations = (
            Generations()
        )  # of a digest: held, and allowed to whom; of (repository, tag): where it points
        self.catalog = catalog
        self.budget = budget
        self.store = store
        self._threads = threads
        self.now = now  # seconds since the epoch
        self.untagged: Callable[[Repository, Tag], None] = lambda repository, tag: None  # hears of tags that left
        self.used_by: Counter[str] = Counter()  # committed bytes by the upstream they count to
        self._hot: LRUCache[Digest, dict[Repository, Content]] = LRUCache(_HOT_ENTRIES)
        self._bytes: LRUCache[Digest, bytes] = LRUCache(_HOT_BYTES, getsizeof=len)
        self._used: dict[Digest, float] = {}
        self._open: Counter[Digest] = Counter()
        self._committing: Counter[Digest] = Counter()
        self._tombstones = Tombstones(store, catalog, threads, self._gone)
        self._changing = asyncio.Lock()

    async def in_store(self, work: Callable[..., T], *arguments: object) -> T:
        """Runs a blocking call of the store off the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    # ------------------------------------------------------------ looking up

    async def find(self, repository: Repository, digest: Digest) -> Content | None:
        """What is held and allowed to this repository; the look-up counts as a use."""
        content = self._hot.get(digest, {}).get(repository)
        if content is None:
            content = await self._look_up(repository, digest)
            if content is None:
                return None
        self._used[digest] = self.now()
        return content

    def peek(self, repository: Repository, digest: Digest) -> tuple[Content, bytes] | None:
        """What is allowed to this repository and has its bytes in memory. Never waits, and marks nothing."""
        content = self._hot.get(digest, {}).get(repository)
        raw = self._bytes.get(digest)
        return (content, raw) if content is not None and raw is not None else None

    def mark_used(self, digest: Digest, now: float) -> None:
        self._used[digest] = now

    async def open(self, content: Content) -> HeldBody | None:
        """A body of held content. None where the store does not have it, or has another size: it is forgotten then,
        which makes it a miss."""
        try:
            reader = await acquire(self._threads, lambda: self.store.open(content.digest), lambda late: late.close())
        except ContentMissing:
            await self.forget([content])
            return None
        if reader.size() != content.size:
            reader.close()
            await self.discard(content)
            return None
        self._open[content.digest] += 1
        return HeldBody(reader, content.size, lambda: self.discard(content), lambda: self._closed(content.digest))

    async def read(self, content: Content) -> bytes | None:
        """All bytes of something small; None as for ``open``, and where they are not those of the digest."""
        raw = self._bytes.get(content.digest)
        if raw is not None:
            return raw
        body = await self.open(content)
        if body is None:
            return None
        try:
            raw = await self.in_store(body.reader.read, 0, content.size)
        finally:
            body.close()
        if not content.digest.matches(raw):
            await self.discard(content)
            return None
        self._bytes[content.digest] = raw
        return raw

    async def discard(self, content: Content) -> None:
        """What lies under the digest is not what it says: out of reach with it, so that the next pull fetches anew."""
        log.error("%s is broken in the store: put into quarantine", content.digest)
        await self.in_store(self.store.quarantine, content.digest)
        await self.forget([content])

    def is_open(self, digest: Digest) -> bool:
        """Being read, or just being committed."""
        return digest in self._open or digest in self._committing

    async def _look_up(self, repository: Repository, digest: Digest) -> Content | None:
        generation = self.generations.of(digest)
        content = await self.catalog.held(repository, digest)
        if content is not None and generation == self.generations.of(digest):  # otherwise it may have left meanwhile
            known = self._hot.setdefault(digest, {})
            if len(known) >= _HOT_REPOSITORIES:
                known.clear()
            known[repository] = content
        return content

    def _closed(self, digest: Digest) -> None:
        self._open[digest] -= 1
        if self._open[digest] <= 0:
            del self._open[digest]

    # ------------------------------------------------------------ changing

    async def begin(self) -> Ingest:
        """An ingest; aborted by itself where nobody waits for it any more. Raises NoSpace or StoreFailed."""
        return await acquire(self._threads, self.store.begin, lambda ingest: ingest.abort())

    async def commit(self, ingest: Ingest, content: Content, member: Provenance, reservation: Reservation) -> None:
        """Makes an ingest durable and known, and its reservation committed bytes. Raises NoSpace or StoreFailed; the
        reservation is then still the caller's."""
        await self._tombstones.passed(content.digest)
        self._committing[content.digest] += 1
        try:
            await self.in_store(ingest.commit, content.digest, content.size)
            async with self._changing:
                before = await self.catalog.content(content.digest)
                await self.catalog.add(content, member.repository, member.children)
                if before is not None:
                    self._gone(before)
                self._tombstones.uncount(content.digest)
                reservation.commit(content.size)
                self.used_by[before.upstream if before and before.upstream else content.upstream] += content.size
        finally:
            self._committing[content.digest] -= 1
            if self._committing[content.digest] <= 0:
                del self._committing[content.digest]

    async def adopt(self, content: Content, children: Sequence[Digest]) -> None:
        """What lies in the store under its digest, unknown to the catalog, is held from now on; but not what is there
        only because its removal is under way or has failed."""
        async with self._changing:
            if content.digest in self._tombstones:
                return
            if await self.catalog.content(content.digest) is None:
                await self.catalog.add(content, None, children)
                self.budget.adopt(content.size)
                self.used_by[content.upstream] += content.size

    async def forget(self, contents: Sequence[Content]) -> None:
        """No longer held. Known to the catalog first: bytes without an entry are found again, an entry without bytes
        would promise what is not there."""
        async with self._changing:
            held = [found for content in contents if (found := await self.catalog.content(content.digest))]
            await self.catalog.forget([content.digest for content in held])
            for content in held:
                self._gone(content)
        self._forget_hot(content.digest for content in contents)

    async def release(self, digests: Sequence[Digest], decide: Callable[[Sequence[Node]], Removal]) -> Removal:
        """Lets go what ``decide`` says of these and all that hangs on them; nothing changes between look and deed.
        Known to the catalog first, so that a crash in between leaves bytes without an entry and a note to remove them;
        the budget has the bytes back once they are gone. Not to be cancelled."""
        with ExitStack() as under_way:
            async with self._changing:
                removal = decide(await self.catalog.closure(digests))
                if not removal.memberships and not removal.freed:
                    return removal
                freed = [node.digest for node in removal.freed]
                under_way.enter_context(self._tombstones.under_way(freed))
                for repository, tag in await self.catalog.release(sorted(removal.memberships), freed):
                    self.untagged(repository, tag)
                self._tombstones.let_go(removal.freed)
                self._forget_hot([*freed, *(membership.digest for membership in removal.memberships)])
            await self._tombstones.remove(freed)
        return removal

    async def clear_tombstones(self) -> int:
        """Removes bytes that a crash or a failing disk left behind a release; returns of how many contents."""
        with ExitStack() as under_way:
            async with self._changing:
                found = await self._tombstones.left_over(self._committing)
                under_way.enter_context(self._tombstones.under_way(found))
            await self._tombstones.remove(found)
        return len(found)

    def _forget_hot(self, digests: Iterable[Digest]) -> None:
        for digest in digests:
            self.generations.advance(digest)
            self._bytes.pop(digest, None)
            self._hot.pop(digest, None)

    def _gone(self, content: Content | Node) -> None:
        """Its bytes are no longer there."""
        self.budget.forget(content.size)
        self.used_by[content.upstream] -= content.size

    async def flush(self) -> None:
        """Writes the marks of last use, in batches between which others have their turn."""
        used, self._used = iter(self._used.items()), {}
        while batch := dict(islice(used, _MARKS)):
            await self.catalog.touch(batch)
