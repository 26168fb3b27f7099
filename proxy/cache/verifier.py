"""The proof of what arrives: hashed front to back, beside the movers that receive and write."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import NamedTuple

from proxy.core.errors import StoreFailed
from proxy.core.names import Hasher
from proxy.core.spans import Span, Spans
from proxy.storage.contract import BlobReader

_STEP = 256 << 10  # bytes read back at a time: they stay in the processor's own cache


class _Next(NamedTuple):
    """Bytes in a mover's buffer, which is its own again after ``done``."""

    content: memoryview
    done: Callable[[], None]


class InOrderVerifier:
    """Hashes front to back what may arrive in any order, in one thread of ``pool`` at a time. Bytes that are the next
    ones are hashed from the mover's buffer, behind its back. Those that came before their turn are read back when it is
    theirs: they are in the page cache still. ``arrived`` are the bytes that are in the file."""

    def __init__(self, hasher: Hasher, reader: BlobReader, arrived: Spans, pool: Executor) -> None:
        self.hasher = hasher  # nobody else's while this runs
        self._reader = reader
        self._arrived = arrived
        self._pool = pool
        self._pending: deque[_Next] = deque()
        self._end = hasher.count  # of what is hashed and pending
        self._lock = threading.Lock()  # of all that is here but the hasher, which is the worker's
        self._working = False  # somebody has the hasher, or will have
        self._called: Future[None] | None = None  # who comes from the pool
        self._left = threading.Condition(self._lock)
        self._reading = threading.Lock()
        self._stopped = False

    def take(self, start: int, chunk: memoryview, done: Callable[[], None]) -> None:
        """From any mover: these bytes are in the file. ``done`` is called, from whatever thread, when the chunk is not
        looked at any more."""
        with self._lock:
            known = self._end - start
            wanted = 0 <= known < len(chunk) and not self._stopped
            if wanted:
                self._pending.append(_Next(chunk[known:], done))
                self._end = start + len(chunk)
            if wanted and not self._working:
                self._working = True
                self._called = self._pool.submit(self._turn)
        if not wanted:
            done()

    def help(self) -> None:
        """Where nobody has come from the pool yet, what is pending is hashed here and now. Raises StoreFailed."""
        if self._called is not None and self._called.cancel():
            self._work()

    @property
    def idle(self) -> bool:
        """Everything that has come without a gap is hashed already."""
        with self._lock:
            return not self._working and self._arrived.run_from(self._end) == self._end

    def finish(self) -> None:
        """Everything that has come without a gap is hashed. Blocks. Raises StoreFailed."""
        self.help()
        with self._lock:
            while self._working:
                self._left.wait()
            self._working = True
        self._work()

    def stop(self) -> None:
        """From now on the reader is not used."""
        with self._reading:
            self._stopped = True
        self._drop_pending()

    def _turn(self) -> None:
        try:
            self._work()
        except StoreFailed:
            return  # whoever finishes meets it again

    def _work(self) -> None:
        try:
            while (step := self._next()) is not None:
                if isinstance(step, Span):
                    self._read_back(step)
                else:
                    self.hasher.update(step.content)
                    step.done()
        except BaseException:
            self._drop_pending()  # it stands behind what could not be read back, and is in the file
            with self._lock:
                self._end = self.hasher.count
                self._working = False
                self._left.notify_all()
            raise

    def _next(self) -> _Next | Span | None:
        """None where there is nothing to hash now: the hasher is free then."""
        with self._lock:
            if self._pending:
                return self._pending.popleft()
            behind = min(self._arrived.run_from(self._end), self._end + _STEP)
            if behind > self._end and not self._stopped:
                step = Span(self._end, behind)
                self._end = behind
                return step
            self._working = False
            self._left.notify_all()
            return None

    def _drop_pending(self) -> None:
        """Every chunk is its mover's again, who may be waiting for it."""
        with self._lock:
            pending, self._pending = self._pending, deque()
        for each in pending:
            each.done()

    def _read_back(self, span: Span) -> None:
        position = span.start
        while position < span.end:
            with self._reading:
                chunk = b"" if self._stopped else self._reader.read(position, span.end - position)
            if self._stopped:
                return
            if not chunk:
                raise StoreFailed(f"the arriving file ended at byte {position}")
            self.hasher.update(chunk)
            position += len(chunk)
