"""Blobs: held, arriving, or fetched.

A blob has three homes in turn, looked at in this order: the catalog (committed), ``arriving`` (readers follow), a
flight (opening). Each hand-over is one step without an await.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from proxy.cache.access import Access
from proxy.cache.answers import BlobAnswer, Outcome, SizeAnswer
from proxy.cache.body import BytesBody
from proxy.cache.fill import Fill
from proxy.cache.fills import Fills, Opened
from proxy.cache.holdings import Holdings
from proxy.cache.pass_through import PassThrough
from proxy.cache.sources import Sources
from proxy.core.errors import Absent, BlobUnknown, Fault, NoSpace, StoreFailed, UpstreamRefused
from proxy.core.names import Digest, Repository
from proxy.core.tables import BoundedTable, of_repository
from proxy.storage.contract import Content
from proxy.tasks.flights import Flights
from proxy.tasks.hops import CAME_BY, SCOPE
from proxy.upstream.contract import Registry

log = logging.getLogger("entrepot.blob")

SMALL = 64 << 10
"""Bytes up to which a blob is served from memory once it was asked for."""

_SIZES = 4 << 20  # bytes
_LOOKS = 8
"""How often a look-up starts again because content moved on between two looks; each start means that somebody else
got further, so a handful is plenty."""
_TURNS = 100
"""The same of who waits for his turn: registries that bring the same bytes before."""

Beside = Callable[[Repository, Fill], Awaitable[BlobAnswer | None]]
"""What comes of a fill under way that the repository may not follow; None: it is looked for again."""


class Blobs:
    def __init__(
        self,
        holdings: Holdings,
        fills: Fills,
        access: Access,
        sources: Sources,
        registry: Callable[[str], Registry],
        group: asyncio.TaskGroup,
    ) -> None:
        self._holdings = holdings
        self._fills = fills
        self._access = access
        self._sources = sources
        self._registry = registry
        self._openings: Flights[Digest, Opened] = Flights(group)
        self._opener: dict[Digest, tuple[Repository, bytes]] = {}  # and with which client's credential
        self._heads: Flights[tuple[Repository, Digest, bytes], None] = Flights(group)
        self._sizes: BoundedTable[tuple[Repository, Digest], int | None] = holdings.tables.table(
            "sizes of blobs", _SIZES, None, of_repository
        )

    async def get(self, repository: Repository, digest: Digest) -> BlobAnswer:
        """Raises BlobUnknown, NameUnknown, Overloaded, StoreFailed, and upstream's faults."""
        return await self._answered(repository, digest, self._passed, _LOOKS)

    async def bring(self, repository: Repository, digest: Digest) -> BlobAnswer:
        """As ``get``, for whom nothing but what is kept is of use: what arrives through another trust domain is waited
        for, and brought after it."""
        return await self._answered(repository, digest, self._waited, _TURNS)

    async def _answered(self, repository: Repository, digest: Digest, beside: Beside, looks: int) -> BlobAnswer:
        for _ in range(looks):
            answer = await self._held(repository, digest) or await self._followed(repository, digest, beside)
            if answer is not None:
                return answer
            content = await self._holdings.get(digest)
            if content is not None and await self._access.require(repository, digest, content.size, content.upstream):
                # What was granted is found by now, but where the catalog cannot note it.
                answer = await self._held(repository, digest) or await self._opened(repository, content)
            else:
                answer = await self._fetched(repository, digest)
            if answer is not None:
                return answer
        raise StoreFailed(f"{digest} of {repository} keeps vanishing from the store")

    async def is_held(self, repository: Repository, digest: Digest) -> bool:
        """Whether it is held for the repository; nothing is fetched and nothing opened. Raises as ``get``."""
        found = await self._holdings.find(repository, digest)
        return found is not None and await self._access.admit(repository, found)

    def peek(self, repository: Repository, digest: Digest) -> tuple[bytes, float] | None:
        """The bytes of a hit, if they are in memory, and until when it may be repeated without looking again, in
        seconds since the epoch. Never waits."""
        found = self._holdings.peek(repository, digest)
        if found is None:
            return None
        until = self._access.peek(repository, found[0])
        return (found[1], until) if until is not None else None

    async def size(self, repository: Repository, digest: Digest) -> SizeAnswer:
        """Of a HEAD: starts no fill, and asks upstream at most once. Raises as ``get``."""
        found = await self._holdings.find(repository, digest)
        if found is not None and await self._access.admit(repository, found):
            return SizeAnswer(found.content.size, Outcome.HIT)
        under_way = self._fills.under_way(repository, digest)
        if under_way is not None and under_way.repository == repository:
            return SizeAnswer(under_way.size, Outcome.COLLAPSED)
        held = await self._holdings.get(digest)
        if held is not None and await self._access.require(repository, digest, held.size, held.upstream):
            return SizeAnswer(held.size, Outcome.HIT)
        self._access.refuse_absent(repository, digest)
        key = (repository, digest)
        if key not in self._sizes:
            await self._heads.join((*key, SCOPE.get()), lambda: self._ask_size(repository, digest))
        return SizeAnswer(self._sizes.get(key), Outcome.BYPASS)

    async def _held(self, repository: Repository, digest: Digest) -> BlobAnswer | None:
        found = await self._holdings.find(repository, digest)
        if found is None or not await self._access.admit(repository, found):
            return None
        return await self._opened(repository, found.content)

    async def _opened(self, repository: Repository, content: Content) -> BlobAnswer | None:
        """None where it is held no more."""
        try:
            if content.size <= SMALL:
                raw = await self._holdings.read(content)
                return BlobAnswer(BytesBody(raw), content.size, Outcome.HIT) if raw is not None else None
            body = await self._holdings.open(content)
        except (NoSpace, StoreFailed) as cause:
            log.error("%s is held and cannot be opened: %s", content.digest, cause)
            return await self._fetched(repository, content.digest)
        return BlobAnswer(body, body.size, Outcome.HIT) if body is not None else None

    async def _followed(self, repository: Repository, digest: Digest, beside: Beside) -> BlobAnswer | None:
        under_way = self._fills.under_way(repository, digest)
        if isinstance(under_way, Fill) and not await self._may_follow(repository, under_way):
            return await beside(repository, under_way)
        return self._behind(under_way, Outcome.COLLAPSED) if under_way is not None else None

    async def _may_follow(self, repository: Repository, fill: Fill) -> bool:
        source = fill.repository
        return source == repository or await self._access.require(repository, fill.digest, fill.size, source.upstream)

    async def _fetched(self, repository: Repository, digest: Digest) -> BlobAnswer | None:
        if self._fills.under_way(repository, digest) is not None:
            return None  # since the last look, which others were waited for behind
        self._access.refuse_absent(repository, digest)
        first, asker = digest not in self._openings, (repository, SCOPE.get())
        if first:
            self._opener[digest] = asker
        elif CAME_BY.get() and self._registry(repository.upstream).forwards:
            await self._ask_size(repository, digest)  # so that caches in a circle do not wait for each other here
            if digest not in self._openings:
                return None
        same = self._opener.get(digest) == asker  # nobody's, once it has ended and is still to be joined
        try:
            opened = await self._openings.join(digest, partial(self._open, repository, digest))
        except Exception:
            if same:
                raise
            return None  # the failure of another repository, or credential, is not an answer for this one
        if not same:
            return None  # to be followed once upstream allows it to this repository too
        return self._behind(opened, Outcome.MISS if first else Outcome.COLLAPSED)

    async def _passed(self, repository: Repository, fill: Fill) -> BlobAnswer:
        """What arrives through another trust domain is brought once more, and is not to be kept twice."""
        try:
            body = await self._fills.pass_by(repository, fill.digest)
        except (Absent, UpstreamRefused) as refusal:
            raise await self._refused(repository, fill.digest, refusal) from refusal
        return BlobAnswer(body, body.size, Outcome.BYPASS)

    async def _waited(self, _: Repository, fill: Fill) -> None:
        if fill.task is not None:
            await asyncio.wait([fill.task])

    def _behind(self, opened: Opened, outcome: Outcome) -> BlobAnswer | None:
        body = self._fills.follow(opened)
        if body is None:
            return None
        return BlobAnswer(body, opened.size, Outcome.BYPASS if isinstance(opened, PassThrough) else outcome)

    async def _open(self, repository: Repository, digest: Digest) -> Opened:
        """Where only upstream itself is asked, its final answer is its yes; other homes are asked behind one."""
        try:
            if not self._sources.only_upstream(repository.upstream):
                await self._access.require(repository, digest, None, repository.upstream)
            opened = await self._fills.open(repository, digest)
            await self._access.standings.renew(repository)
            return opened
        except (Absent, UpstreamRefused) as refusal:
            raise await self._refused(repository, digest, refusal) from refusal
        finally:
            self._opener.pop(digest, None)

    async def _ask_size(self, repository: Repository, digest: Digest) -> None:
        try:
            size = await self._registry(repository.upstream).blob_size(repository.name, digest)
        except (Absent, UpstreamRefused) as refusal:
            raise await self._refused(repository, digest, refusal) from refusal
        self._sizes.put((repository, digest), size)
        await self._access.standings.renew(repository)

    async def _refused(self, repository: Repository, digest: Digest, refusal: Absent | UpstreamRefused) -> Fault:
        """What to tell."""
        if isinstance(refusal, BlobUnknown):
            self._access.deny(repository, digest)
        return await self._access.refused(repository, digest, refusal)
