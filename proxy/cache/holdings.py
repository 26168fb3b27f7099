"""What we hold: the store, the catalog, the budget and the hot part of them in memory, kept in step.

Invariant: the budget's committed bytes are those of the catalog and of the tombstones, and every way to add or drop
content, or a repository's right to it, leads through here.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from itertools import islice
from operator import methodcaller
from typing import NamedTuple, TypeVar

from proxy.cache.body import HeldBody
from proxy.cache.doubts import ANY_AGE, Doubts, VerifyRules
from proxy.cache.generations import Generations
from proxy.cache.rereading import ReadCount, ReadPace, agrees
from proxy.cache.threads import StoreThreads
from proxy.cache.tombstones import Tombstones
from proxy.core.budget import Budget, Reservation
from proxy.core.errors import ContentMissing, NoSpace, StoreFailed
from proxy.core.graph import Node, Removal
from proxy.core.names import Digest, Repository
from proxy.core.tables import BoundedTable, Tables
from proxy.storage.contract import BlobReader, BlobStore, Catalog, Content, Held, Ingest, Member, MembershipRecord
from proxy.tasks.off_loop import off_loop
from proxy.tasks.turns import Turns

log = logging.getLogger("entrepot.holdings")

_HOT = 32 << 20  # bytes of what is known of contents
_HOT_BYTES = 64 << 20
_HOT_REPOSITORIES = 64  # of one digest
_LEISURE = 1.0  # seconds
_MARKS = 500  # of last use, written at once
_MARKS_KEPT = 100_000  # while they cannot be written
_DECISIONS = 10  # of one release, each because what it was about had changed meanwhile
T = TypeVar("T")
_CLOSE = methodcaller("close")


class Provenance(NamedTuple):
    """Through which repository content came, and what it refers to if it is a manifest. Without a ``record`` upstream
    itself gave it to that repository, just now and under the type that the content has. Without a repository nobody may
    have it yet."""

    repository: Repository | None
    children: Sequence[Digest] = ()
    record: MembershipRecord | None = None


class Shared(NamedTuple):
    """What all rooms of a cache share."""

    turns: Turns
    tables: Tables


class Holdings:
    """Marks of last use stay in memory until ``flush``; content that is open is never a victim. ``generations`` are
    those of a digest: held, and allowed to whom; and of (repository, tag): where it points."""

    def __init__(
        self,
        store: BlobStore,
        catalog: Catalog,
        budget: Budget,
        threads: StoreThreads,
        now: Callable[[], float],
        verify: VerifyRules = ANY_AGE,
        shared: Shared | None = None,
    ) -> None:
        self.generations = Generations()
        self.catalog = catalog
        self.budget = budget
        self.store = store
        self.threads = threads
        self.now = now
        self.turns, self.tables = shared or Shared(Turns(), Tables(now))
        self.doubted = Doubts(verify, self.tables)
        self._hot: BoundedTable[Digest, dict[Repository, Held]] = self.tables.table("held", _HOT)
        self._bytes: BoundedTable[Digest, bytes] = self.tables.table("bytes of what is held", _HOT_BYTES)
        self._used: dict[Digest, float] = {}
        self._last_use = 0.0  # seconds since the epoch
        self._readers: Counter[Digest] = Counter()
        self._tombstones = Tombstones(store, catalog.contents, threads, budget)
        self._changing = asyncio.Lock()
        self._changes = 0  # of what is in memory; what was read before one is not kept there

    # ------------------------------------------------------------ looking up

    async def find(self, repository: Repository, digest: Digest) -> Held | None:
        """What is held and allowed to this repository; the look-up counts as a use. A catalog that cannot be read
        knows of nothing: upstream is asked instead."""
        held = self._hot.get(digest, {}).get(repository)
        if held is None:
            changes = self._changes
            held = await readable(self.catalog.memberships.held(repository, digest))
            if held is None:
                return None
            if changes == self._changes:  # otherwise it may have left meanwhile
                known = self._hot.get(digest, {})
                others = known if len(known) < _HOT_REPOSITORIES else {}
                self._hot.put(digest, {**others, repository: held})
        self._used[digest] = self.now()
        return held

    async def get(self, digest: Digest) -> Content | None:
        """What is held, whoever may have it; a catalog that cannot be read knows of nothing."""
        return await readable(self.catalog.contents.get(digest))

    async def allowed(self, repository: Repository, digest: Digest) -> MembershipRecord | None:
        """As the catalog's memberships say; one that cannot be read knows of nothing."""
        return await readable(self.catalog.memberships.allowed(repository, digest))

    def peek(self, repository: Repository, digest: Digest) -> tuple[Held, bytes] | None:
        """What is allowed to this repository and has its bytes in memory. Never waits, and marks nothing."""
        held = self._hot.get(digest, {}).get(repository)
        raw = self._bytes.get(digest)
        return (held, raw) if held is not None and raw is not None else None

    def mark_used(self, digest: Digest, now: float) -> None:
        """Served at ``now``, in seconds since the epoch."""
        self._used[digest] = self._last_use = now

    @property
    def at_leisure(self) -> bool:
        """Nothing is being served, and nothing was within the last ``_LEISURE`` seconds."""
        return not self._readers and abs(self.now() - self._last_use) > _LEISURE

    async def open(self, content: Content) -> HeldBody | None:
        """As ``reopen``; where its bytes were last proven too long ago they are proven again, behind the answer or
        before it."""
        body = await self.reopen(content)
        if body is None or abs(self.now() - body.reader.proven_at) <= self.doubted.limit:
            return body
        if not self.doubted.before_the_answer:
            self.doubted.add(content, self.now())
            return body
        return await self._proven_before(body, content)

    async def reopen(self, content: Content) -> HeldBody | None:
        """A body of held content. None where the store does not have it, or has another size: it is forgotten then,
        which makes it a miss. Raises NoSpace or StoreFailed."""
        try:
            work = partial(self.store.open, content.digest)
            reader = await off_loop(self.threads.opening, work, give_back=_CLOSE)
        except ContentMissing:
            await self.forget([content])
            return None
        if reader.size != content.size:
            reader.close()
            await self.discard(content)
            return None
        return HeldBody(reader, content.digest, self._readers, partial(self.discard, content))

    async def read(self, content: Content) -> bytes | None:
        """All bytes of something small; None as for ``open``, and where they are not those of the digest. Raises
        StoreFailed."""
        raw = self._bytes.get(content.digest)
        if raw is not None:
            return raw
        body = await self.reopen(content)
        if body is None:
            return None
        try:
            raw = await off_loop(self.threads.opening, partial(_proven, body.reader, content))
        finally:
            body.close()
        if raw is None:
            await self.discard(content)
            return None
        self._bytes.put(content.digest, raw)
        return raw

    async def proven(self, content: Content) -> None:
        """Its bytes were just compared with the digest, and agree. Raises StoreFailed."""
        now = self.now()
        self.doubted.settle(content.digest, now)
        with suppress(ContentMissing):
            await off_loop(self.threads.behind, partial(self.store.mark_proven, content.digest, now))

    async def prove_again(self, content: Content, pace: ReadPace, read: ReadCount) -> bool | None:
        """Reads all of it: whether its bytes are those of the digest, None as for ``reopen``. What is wrong goes into
        quarantine, and the next pull fetches it anew. Raises NoSpace or StoreFailed."""
        body = await self.reopen(content)
        if body is None:
            return None
        try:
            good = await agrees(body, content, self.threads, pace, read)
        finally:
            body.close()
        await (self.proven(content) if good else self.discard(content))
        return good

    async def _proven_before(self, body: HeldBody, content: Content) -> HeldBody | None:
        try:
            good = await agrees(body, content, self.threads, ReadPace(float("inf")), ReadCount())
        except BaseException:
            body.close()
            raise
        if good:
            return body
        body.close()
        await self.discard(content)
        return None

    def is_open(self, digest: Digest) -> bool:
        """Being read, or just being committed."""
        return digest in self._readers or self._tombstones.is_committing(digest)

    # ------------------------------------------------------------ changing

    async def allow(self, repository: Repository, digest: Digest, record: MembershipRecord) -> None:
        """The repository has it, held or not. Where it cannot be written down, it is asked again the next time."""
        with suppress(NoSpace, StoreFailed):
            await self.grant(repository, digest, record)

    async def grant(self, repository: Repository, digest: Digest, record: MembershipRecord) -> None:
        """As ``allow``, for whoever cannot ask again. Raises NoSpace or StoreFailed."""
        try:
            await self.catalog.memberships.allow(repository, digest, record)
        finally:
            self._changes += 1
            if digest in self._hot:  # perhaps under another type
                self._forget_hot([digest])

    async def disallow(self, repository: Repository, digest: Digest) -> None:
        """Upstream said that the repository does not have it. Where it cannot be written down, the caller's own memory
        of the refusal has to do."""
        self._forget_hot([digest])
        with suppress(NoSpace, StoreFailed):
            await self.catalog.memberships.disallow(repository, digest)
        self._forget_hot([digest])

    async def commit(self, ingest: Ingest, content: Content, member: Provenance, reservation: Reservation) -> None:
        """Makes an ingest durable and known, and its reservation committed bytes. Raises NoSpace or StoreFailed; the
        reservation is then still the caller's."""
        record = member.record or MembershipRecord(content.media_type, content.created_at)
        async with self._tombstones.committing(content.digest):
            await off_loop(self.threads.committing, partial(ingest.commit, content.digest, content.size))
            try:
                async with self._changing:
                    owner = Member(member.repository, record) if member.repository is not None else None
                    before = await self.catalog.contents.add(content, member.children, owner)
                    if before is not None:
                        self._replaced(before)
                    self._tombstones.uncount(content.digest)
                    reservation.commit(content.size, (before and before.upstream) or content.upstream)
            except BaseException:
                self._tombstones.strand(content)
                raise

    async def adopt(self, content: Content, children: Sequence[Digest]) -> None:
        """What lies in the store under its digest, unknown to the catalog, is held from now on; but not what is there
        only because its removal is under way or has failed."""
        async with self._changing:
            if content.digest in self._tombstones:
                return
            if await self.catalog.contents.get(content.digest) is None:
                await self.catalog.contents.add(content, children)
                self.budget.adopt(content.size, content.upstream)

    async def forget(self, contents: Sequence[Content]) -> None:
        """No longer held. Known to the catalog first: bytes without an entry are found again, an entry without bytes
        would promise what is not there."""
        digests = [content.digest for content in contents]
        async with self._changing:
            for content in await self.catalog.contents.forget(digests):
                self.budget.forget(content.size, content.upstream)
        self._forget_hot(digests)

    async def discard(self, content: Content) -> None:
        """What lies under the digest is not what it says: out of reach with it, so that the next pull fetches anew."""
        log.error("%s is broken in the store: put into quarantine", content.digest)
        await off_loop(self.threads.removing, partial(self.store.quarantine, content.digest))
        await self.forget([content])

    async def release(self, digests: Sequence[Digest], decide: Callable[[Sequence[Node]], Removal]) -> Removal:
        """Lets go what ``decide`` says of these and all that hangs on them; it is asked again where that has changed
        before it was done, and nothing goes where it never stays the same. Known to the catalog first, so that a crash
        in between leaves bytes without an entry and a note to remove them; the budget has the bytes back once they are
        gone. Not to be cancelled. Raises NoSpace or StoreFailed."""
        for _ in range(_DECISIONS):
            with ExitStack() as removing:
                async with self._changing:
                    closure = await self.catalog.contents.closure(digests)
                    removal = decide(closure.nodes)
                    if not removal.memberships and not removal.freed:
                        return removal
                    freed = [node.digest for node in removal.freed]
                    removing.enter_context(self._tombstones.removing(freed))
                    untagged = await self.catalog.contents.release(sorted(removal.memberships), freed, closure)
                    if untagged is None:
                        continue
                    self._tombstones.let_go(removal.freed)
                    self._forget_hot([*freed, *(membership.digest for membership in removal.memberships)])
                    for key in untagged:
                        self.generations.advance(key)
                await self._tombstones.remove(freed)
                return removal
        return Removal()

    async def load(self) -> None:
        """What an earlier process let go and did not remove counts too. Raises StoreFailed."""
        await self._tombstones.load()

    async def measure(self) -> None:
        """What lies in the home beside what is held counts too. Raises StoreFailed."""
        quarantined = await off_loop(self.threads.behind, self.store.quarantined)
        self.budget.beside = {"quarantine": quarantined, "catalog": await self.catalog.size()}

    def has_leftovers(self) -> bool:
        """Is anything counted whose bytes are to go?"""
        return self._tombstones.has_some()

    async def clear_tombstones(self) -> int:
        """Removes bytes that a crash, a failing disk or a failing catalog left behind; returns of how many contents.
        Raises NoSpace or StoreFailed."""
        with ExitStack() as removing:
            async with self._changing:
                found = await self._tombstones.left_over()
                await self._recount()
                removing.enter_context(self._tombstones.removing(found))
            await self._tombstones.remove(found)
        return len(found)

    async def recount(self) -> None:
        """The budget's sum again from what is there, whatever went wrong with it. Raises StoreFailed."""
        async with self._changing:
            await self._recount()

    async def flush(self) -> None:
        """Writes the marks of last use, in batches between which others have their turn. Raises NoSpace or StoreFailed:
        what is not written yet is kept for the next time."""
        used, self._used = self._used, {}
        while batch := dict(islice(used.items(), _MARKS)):
            try:
                await self.catalog.contents.touch(batch)
            except BaseException:
                kept = {**used, **self._used}
                self._used = dict(islice(kept.items(), max(0, len(kept) - _MARKS_KEPT), None))
                raise
            for digest in batch:
                del used[digest]

    async def _recount(self) -> None:
        usage = await self.catalog.contents.usage_by_upstream()
        committed = Counter({upstream: each.size for upstream, each in usage.items()})
        committed.update(self._tombstones.counted())
        self.budget.recount(committed)

    def _replaced(self, content: Content) -> None:
        """Its bytes are no longer there, but the same again; perhaps under another type."""
        self.budget.forget(content.size, content.upstream)
        self._forget_hot([content.digest])

    def _forget_hot(self, digests: Iterable[Digest]) -> None:
        self._changes += 1
        for digest in digests:
            self.generations.advance(digest)
            self._bytes.pop(digest)
            self._hot.pop(digest)


def _proven(reader: BlobReader, content: Content) -> bytes | None:
    """All of it; None where it does not match its digest."""
    raw = reader.read(0, content.size)
    return raw if content.digest.matches(raw) else None


async def readable(asking: Awaitable[T | None]) -> T | None:
    """What was asked of our own storage; a storage that cannot be read knows of nothing."""
    try:
        return await asking
    except (NoSpace, StoreFailed):  # which the storage itself has told
        return None
