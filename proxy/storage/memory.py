"""Bytes and knowledge in dicts: for tests and for a cache without a disk. Durable until the process ends."""

import threading
from collections.abc import Iterator, Mapping, Sequence

from proxy.core.errors import ContentMissing, NoSpace, StoreFailed
from proxy.core.names import Digest, Repository, Tag
from proxy.core.spans import Spans
from proxy.storage.contract import Content, TagRecord, Usage


class MemoryReader:
    def __init__(self, content: bytearray, lock: threading.Lock) -> None:
        self._content: bytearray | None = content
        self._lock = lock

    def fileno(self) -> None:
        return None

    def read(self, offset: int, length: int) -> bytes:
        with self._lock:
            return bytes(self._open()[offset : offset + length])

    def size(self) -> int:
        return len(self._open())

    def close(self) -> None:
        self._content = None

    def _open(self) -> bytearray:
        if self._content is None:
            raise StoreFailed("the reader is closed")
        return self._content


class MemoryIngest:
    def __init__(self, store: "MemoryStore") -> None:
        self._store = store
        self._content = bytearray()
        self._spans = Spans()
        self._lock = threading.Lock()
        self._ended = False
        self._committed = False

    def write(self, offset: int, content: bytes | memoryview) -> None:
        view = memoryview(content).cast("B")
        end = offset + len(view)
        with self._lock:
            if self._ended:
                raise StoreFailed("the ingest has ended")
            if end > len(self._content):
                self._store.account(end - len(self._content))
                self._content.extend(bytes(end - len(self._content)))
            self._content[offset:end] = view
            self._spans.add(offset, end)

    def missing(self, size: int) -> list[tuple[int, int]]:
        with self._lock:
            return self._spans.missing(size)

    def open(self) -> MemoryReader:
        """After ``commit`` a reader of what was committed; raises ContentMissing after ``abort``."""
        with self._lock:
            if self._ended and not self._committed:
                raise ContentMissing("the ingest was aborted")
            return MemoryReader(self._content, self._lock)

    def commit(self, digest: Digest, size: int) -> None:
        with self._lock:
            if self._ended:
                return
            whole = len(self._content) == size and not self._spans.missing(size)
            if whole:
                self._ended = self._committed = True
                self._store.place(digest, self._content)
        if not whole:
            self.abort()
            raise StoreFailed(f"the ingest does not hold the {size} bytes that were announced")

    def abort(self) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
            self._store.account(-len(self._content))


class MemoryStore:
    """``capacity`` is in bytes, arriving ones included."""

    def __init__(self, capacity: int = 1 << 30) -> None:
        self._capacity = capacity
        self._used = 0
        self._held: dict[Digest, bytearray] = {}
        self._lock = threading.Lock()

    def begin(self) -> MemoryIngest:
        return MemoryIngest(self)

    def open(self, digest: Digest) -> MemoryReader:
        content = self._held.get(digest)
        if content is None:
            raise ContentMissing(f"{digest} is not in the store")
        return MemoryReader(content, threading.Lock())

    def remove(self, digest: Digest) -> None:
        with self._lock:
            self._used -= len(self._held.pop(digest, b""))

    def quarantine(self, digest: Digest) -> None:
        """A removal: nobody can look into the memory of a process."""
        self.remove(digest)

    def shards(self) -> Iterator[list[tuple[Digest, int]]]:
        for algorithm in ("sha256", "sha512"):
            for number in range(256):
                prefix = f"{algorithm}:{number:02x}"
                held = list(self._held.items())
                yield sorted((digest, len(content)) for digest, content in held if digest.startswith(prefix))

    def verify(self, digest: Digest) -> bool:
        reader = self.open(digest)
        return digest.matches(reader.read(0, reader.size()))

    def sweep(self) -> int:
        return 0

    def free_space(self) -> tuple[int, int]:
        return max(0, self._capacity - self._used), self._capacity

    # ------------------------------------------------ for its ingests

    def account(self, change: int) -> None:
        """Raises NoSpace."""
        with self._lock:
            if change > 0 and self._used + change > self._capacity:
                raise NoSpace(f"the memory store is full: {self._capacity} bytes")
            self._used += change

    def place(self, digest: Digest, content: bytearray) -> None:
        with self._lock:
            self._used -= len(self._held.get(digest, b""))
            self._held[digest] = content


class MemoryCatalog:
    """One loop, no thread: what is between two awaits is one step."""

    def __init__(self) -> None:
        self._content: dict[Digest, Content] = {}
        self._members: dict[Repository, set[Digest]] = {}
        self._tags: dict[tuple[Repository, Tag], TagRecord] = {}
        self._children: dict[Digest, set[Digest]] = {}

    async def held(self, repository: Repository, digest: Digest) -> Content | None:
        return self._content.get(digest) if digest in self._members.get(repository, ()) else None

    async def content(self, digest: Digest) -> Content | None:
        return self._content.get(digest)

    async def add(self, content: Content, repository: Repository | None, children: Sequence[Digest] = ()) -> None:
        known = self._content.get(content.digest, content)
        used_at = max(known.used_at, content.used_at)
        self._content[content.digest] = content._replace(created_at=known.created_at, used_at=used_at)
        if repository is not None:
            await self.allow(repository, content.digest)
        if children:
            self._children.setdefault(content.digest, set()).update(children)

    async def allow(self, repository: Repository, digest: Digest) -> None:
        self._members.setdefault(repository, set()).add(digest)

    async def forget(self, digests: Sequence[Digest]) -> None:
        for digest in digests:
            self._content.pop(digest, None)
            self._children.pop(digest, None)

    async def disallow(self, repository: Repository, digest: Digest) -> None:
        self._members.get(repository, set()).discard(digest)

    async def tag(self, repository: Repository, tag: Tag) -> TagRecord | None:
        return self._tags.get((repository, tag))

    async def set_tag(self, repository: Repository, tag: Tag, record: TagRecord) -> None:
        self._tags[repository, tag] = record

    async def drop_tag(self, repository: Repository, tag: Tag) -> None:
        self._tags.pop((repository, tag), None)

    async def touch(self, uses: Mapping[Digest, float]) -> None:
        for digest, used_at in uses.items():
            known = self._content.get(digest)
            if known is not None and used_at > known.used_at:
                self._content[digest] = known._replace(used_at=used_at)

    async def oldest(self, limit: int) -> list[Content]:
        return sorted(self._content.values(), key=lambda content: (content.used_at, content.digest))[:limit]

    async def usage(self) -> Usage:
        return Usage(sum(content.size for content in self._content.values()), len(self._content))

    async def repositories(self, after: tuple[str, str] | None, limit: int) -> list[Repository]:
        found = (
            repository
            for repository, digests in self._members.items()
            if any(digest in self._content and self._content[digest].media_type for digest in digests)
        )
        return sorted(repository for repository in found if after is None or repository > after)[:limit]

    async def between(self, first: str, last: str) -> list[Content]:
        return sorted(content for digest, content in self._content.items() if first <= digest < last)

    async def children(self, digest: Digest) -> list[Digest]:
        return sorted(self._children.get(digest, ()))

    async def parents(self, digest: Digest) -> list[Digest]:
        return sorted(parent for parent, children in self._children.items() if digest in children)

    async def backup(self) -> None:
        """Nothing outlives the process, so there is nothing to copy to."""

    async def close(self) -> None:
        """Nothing to give back."""
