"""Hashing front to back what may arrive in any order."""

import threading
from concurrent.futures import Executor

from proxy.core.errors import StoreFailed
from proxy.core.hashing import Hasher
from proxy.core.spans import Spans
from proxy.storage.contract import BlobReader

_STEP = 256 << 10  # bytes read back at a time: they stay in the processor's own cache


class InOrderVerifier:
    """Bytes that are the next ones are hashed from the mover's buffer. Those that came before their turn are read back
    when it is theirs, in a thread of ``pool``: they are in the page cache still. ``arrived`` are the bytes that are in
    the file."""

    def __init__(self, hasher: Hasher, reader: BlobReader, arrived: Spans, pool: Executor) -> None:
        self.hasher = hasher  # nobody else's while this runs
        self._reader = reader
        self._arrived = arrived
        self._pool = pool
        self._lock = threading.Lock()
        self._catching_up = False
        self._stopped = False

    def take(self, start: int, chunk: memoryview) -> None:
        """From any mover: these bytes are in the file and have ``arrived``."""
        with self._lock:
            known = self.hasher.count - start
            if not 0 <= known < len(chunk):
                return
            self.hasher.update(chunk[known:])
            behind = self._arrived.run_from(self.hasher.count) > self.hasher.count and not self._catching_up
            self._catching_up = self._catching_up or behind
        if behind:
            self._pool.submit(self._catch_up)

    def finish(self) -> None:
        """Everything that has come without a gap is hashed. Blocks. Raises StoreFailed."""
        while self._step():
            pass

    def stop(self) -> None:
        """From now on the reader is not used."""
        with self._lock:
            self._stopped = True

    def _catch_up(self) -> None:
        try:
            self.finish()
        except StoreFailed:
            return  # whoever finishes meets it again

    def _step(self) -> bool:
        with self._lock:
            position = self.hasher.count
            end = self._arrived.run_from(position)
            if self._stopped or end <= position:
                self._catching_up = False
                return False
            chunk = self._reader.read(position, min(_STEP, end - position))
            if not chunk:
                raise StoreFailed(f"the arriving file ended at byte {position}")
            self.hasher.update(chunk)
            return True
