"""What tags point to, and how long that may be believed.

A tag that is declared immutable is believed for ever. Once a day it is looked at upstream all the same, behind a pull:
if it has moved there it keeps its digest here, and that is reported.
"""

import logging
from collections.abc import Callable

from proxy.cache.holdings import Holdings, readable
from proxy.core.errors import NoSpace, StoreFailed
from proxy.core.freshness import Standing, TagRules, age, asked_at, believed_since, standing
from proxy.core.names import Digest, Repository, Tag
from proxy.core.second_hand import NO_REMARKS, Remarks
from proxy.core.tables import BoundedTable, of_repository
from proxy.storage.contract import TagRecord

log = logging.getLogger("entrepot.tags")

_AUDIT_EVERY = 86_400.0  # seconds
_MOVES_KEPT = 1 << 20  # bytes
_KEPT = 32 << 20  # bytes
_NOTHING = object()

Key = tuple[Repository, Tag]
IsImmutable = Callable[[Repository, Tag], bool]


class Tags:
    """``moved`` holds immutable tags that point elsewhere upstream, with the digest they have there."""

    def __init__(
        self,
        holdings: Holdings,
        rules: TagRules,
        immutable: IsImmutable,
        is_pinned: Callable[[Repository, Tag, Digest], bool],
        now: Callable[[], float],
    ) -> None:
        table = holdings.tables.table
        self.moved: BoundedTable[Key, Digest] = table("immutable tags that moved", _MOVES_KEPT, None, of_repository)
        self.is_pinned = is_pinned
        self._holdings = holdings
        self.rules = rules
        self._immutable = immutable
        self.now = now
        # With the generation that a record was read in; of those not written, None where it is dropped.
        self._records: BoundedTable[Key, tuple[int, TagRecord]] = table("tags", _KEPT, None, of_repository)
        self._unwritten: BoundedTable[Key, TagRecord | None] = table("tags not written", _KEPT, None, of_repository)

    async def find(self, repository: Repository, tag: Tag) -> TagRecord | None:
        """The record, also of a tag that is too old to be believed."""
        record = self.peek(repository, tag)
        if record is not None or (repository, tag) in self._unwritten:
            return record
        generation = self._holdings.generations.of((repository, tag))
        record = await readable(self._holdings.catalog.tags.get(repository, tag))
        if record is not None:
            self._records.put((repository, tag), (generation, record))
        return record

    def peek(self, repository: Repository, tag: Tag) -> TagRecord | None:
        """The record, if it is in memory. Never waits."""
        key = (repository, tag)
        if self._unwritten and key in self._unwritten:
            return self._unwritten.get(key)
        known = self._records.get(key)
        if known is None or known[0] != self._holdings.generations.of(key):
            return None
        return known[1]

    def standing(self, repository: Repository, tag: Tag, record: TagRecord) -> Standing:
        """Whether it is believed now; of an immutable tag always."""
        found = standing(self.rules, record.checked_at, self.now())
        return Standing.FRESH if found is not Standing.FRESH and self._immutable(repository, tag) else found

    def fresh_until(self, record: TagRecord) -> float:
        """Seconds since the epoch; of an immutable tag, when to ask again whether it still is one."""
        return (self.now() if self._old(record) else record.checked_at) + self.rules.ttl

    def believed_for(self, record: TagRecord) -> float | None:
        """Seconds since upstream was asked, for a cache that asks us; None where it is not the time that decides."""
        return None if self._old(record) else age(record.checked_at, self.now())

    async def point(self, repository: Repository, tag: Tag, digest: Digest, remarks: Remarks = NO_REMARKS) -> None:
        """Upstream says so now; what a cache has told is as old as it is there."""
        told, now = remarks.second_hand, self.now()
        since = believed_since(remarks.age, now, self.rules) if told is None else asked_at(told, now, self.rules)
        record = TagRecord(digest, since)
        self.moved.pop((repository, tag))
        self._holdings.generations.advance((repository, tag))
        self._records.put((repository, tag), (self._holdings.generations.of((repository, tag)), record))
        await self._write(repository, tag, record)

    async def forget(self, repository: Repository, tag: Tag) -> None:
        """It is not known any more, in the catalog neither."""
        self._records.pop((repository, tag))
        self._holdings.generations.advance((repository, tag))
        await self._write(repository, tag, None)

    async def flush(self) -> None:
        """Writes what could only be kept in memory. Raises NoSpace or StoreFailed: the rest is kept for the next
        time."""
        for key, record in self._unwritten.items():
            await self._put(*key, record)
            if self._unwritten.get(key, _NOTHING) is record:
                self._unwritten.pop(key)

    async def _write(self, repository: Repository, tag: Tag, record: TagRecord | None) -> None:
        """None drops it. What the catalog does not take is remembered instead, and goes before what it says."""
        try:
            await self._put(repository, tag, record)
        except (NoSpace, StoreFailed):
            self._unwritten.put((repository, tag), record)
        else:
            if self._unwritten:
                self._unwritten.pop((repository, tag))

    async def _put(self, repository: Repository, tag: Tag, record: TagRecord | None) -> None:
        if record is None:
            await self._holdings.catalog.tags.drop(repository, tag)
        else:
            await self._holdings.catalog.tags.set(repository, tag, record)

    def audit_is_due(self, record: TagRecord) -> bool:
        """Was it believed for nothing but being immutable, and for so long that a look is owed?"""
        return self._old(record) and self.now() - record.checked_at > _AUDIT_EVERY

    async def audited(self, repository: Repository, tag: Tag, record: TagRecord, upstream: Digest) -> None:
        """What upstream says of an immutable tag."""
        await self.point(repository, tag, record.digest)
        if upstream != record.digest:
            self.moved.put((repository, tag), upstream)
            log.error("%s:%s is declared immutable and moved upstream to %s: it stays %s here",
                      repository, tag, upstream, record.digest)  # fmt: skip

    def _old(self, record: TagRecord) -> bool:
        return standing(self.rules, record.checked_at, self.now()) is not Standing.FRESH
