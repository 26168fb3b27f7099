"""What a mover receives into: a few buffers in turn, so that one is filled while others are hashed."""

from collections.abc import Callable
from queue import SimpleQueue

_FIRST = 128 << 10  # bytes: what an upstream has begun to send is soon passed on
_LARGEST = 1 << 20  # larger ones fall out of the processor's cache and cost more than they save
_MOST = 3


class Buffers:
    """Of one transfer. ``give_back`` may come from any thread, everything else from one at a time."""

    def __init__(self) -> None:
        self._size = _FIRST
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        self._there = 0  # free and in use

    def next(self, wait: Callable[[], None]) -> memoryview:
        """Blocks while all are in use; ``wait`` is called before."""
        if self._there == _MOST or not self._free.empty():
            if self._free.empty():
                wait()
            buffer = self._free.get()
            if len(buffer) >= self._size:
                return buffer
            self._there -= 1
        self._there += 1
        return memoryview(bytearray(self._size))

    def give_back(self, buffer: memoryview) -> None:
        """It is not looked at any more."""
        self._free.put(buffer)

    def filled(self, buffer: memoryview, count: int) -> None:
        """So many bytes came: where they fill it, the next one is larger, and the interpreter lock is taken less
        often."""
        if count == len(buffer):
            self._size = min(2 * self._size, _LARGEST)
