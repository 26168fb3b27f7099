"""Bytes in a dict: for tests and for a cache without a disk. Durable until the process ends."""

import threading
from collections.abc import Iterator

from proxy.core.errors import ContentMissing, NoSpace, StoreFailed
from proxy.core.names import Digest
from proxy.core.spans import Span, Spans


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

    def missing(self, size: int) -> list[Span]:
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
