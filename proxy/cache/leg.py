"""A part of a blob that one transfer at a time brings."""

import threading


class Leg:
    """From ``start`` up to ``end``. Its mover advances ``position``; the loop may move ``end``."""

    def __init__(self, start: int, end: int) -> None:
        self.position = start  # of the next byte
        self.end = end
        self._asked = start
        self._lock = threading.Lock()

    @property
    def done(self) -> bool:
        return self.position >= self.end

    def room(self, most: int) -> int:
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
