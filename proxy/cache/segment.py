"""A part of a blob that one transfer at a time brings."""

import threading
import time

from proxy.core.transfer import Transfer


class Segment:
    """From ``start`` up to ``end``. Its mover advances ``position``; the loop may move ``end``."""

    def __init__(self, start: int, end: int) -> None:
        self.position = start  # of the next byte
        self.end = end
        self._asked = start
        self._waited = 0.0
        self._waiting_since: float | None = None
        self._lock = threading.Lock()

    @property
    def done(self) -> bool:
        return self.position >= self.end

    def receive(self, transfer: Transfer, buffer: memoryview) -> int:
        """``readinto``, with the time it takes on the segment's account."""
        self._waiting_since = since = time.monotonic()
        try:
            return transfer.readinto(buffer)
        finally:
            self._waited += time.monotonic() - since
            self._waiting_since = None

    def waited(self, now: float) -> float:
        """Seconds that its mover has waited for upstream; ``now`` is monotonic."""
        since = self._waiting_since
        return self._waited + (0.0 if since is None else now - since)

    def space(self, most: int) -> int:
        """How many bytes the mover may receive before it asks again."""
        with self._lock:
            count = min(most, self.end - self.position)
            self._asked = self.position + count
            return count

    def cut(self, end: int) -> bool:
        """The rest from ``end`` on is somebody else's; False where the mover may be there already."""
        with self._lock:
            if end < self._asked:
                return False
            self.end = end
            return True
