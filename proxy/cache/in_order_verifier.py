"""Hashing front to back what may arrive in any order."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor

from proxy.core.errors import StoreFailed
from proxy.core.hashing import Hasher
from proxy.storage.contract import BlobReader

_STEP = 256 << 10  # bytes read back at a time: they stay in the processor's own cache


class InOrderVerifier:
    """Bytes that are the next ones are hashed from the mover's buffer. Those that came before their turn are read back
    when it is theirs, in a thread of ``provers``: they are in the page cache still.

    ``arrived(position)`` is the end of the unbroken run of bytes in the file from that position on."""

    def __init__(self, hasher: Hasher, reader: BlobReader, arrived: Callable[[int], int], provers: Executor) -> None:
        self.hasher = hasher  # nobody else's while this runs
        self._reader = reader
        self._arrived = arrived
        self._provers = provers
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
            behind = self._behind() and not self._catching_up
            self._catching_up = self._catching_up or behind
        if behind:
            self._provers.submit(self._catch_up)

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
            if self._stopped or not self._behind():
                self._catching_up = False
                return False
            position = self.hasher.count
            chunk = self._reader.read(position, min(_STEP, self._arrived(position) - position))
            if not chunk:
                raise StoreFailed(f"the arriving file ended at byte {position}")
            self.hasher.update(chunk)
            return True

    def _behind(self) -> bool:
        return self._arrived(self.hasher.count) > self.hasher.count
