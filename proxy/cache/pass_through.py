"""Passing through: one client, one transfer, nothing kept. For blobs that cannot be cached, and disks that are full.

The same promise as for cached content: the tail is held back until the digest agrees.
"""

import asyncio
from concurrent.futures import Executor

from proxy.cache.body import CHUNK
from proxy.core.errors import WrongBytes
from proxy.core.hashing import HELD_BACK, Hasher
from proxy.core.transfer import Transfer


class PassThrough:
    """Reads front to back. ``hasher`` has seen every byte before the transfer's first one that is new to it."""

    def __init__(self, transfer: Transfer, hasher: Hasher, movers: Executor) -> None:
        self.size = transfer.size
        self._transfer = transfer
        self._hasher = hasher
        self._movers = movers
        self._position = transfer.offset  # of the transfer's next byte
        self._base = hasher.count  # of the first byte of ``_window``
        self._window = bytearray()
        self._proven = False
        self._reading: asyncio.Future[bytes] | None = None

    def ready(self, position: int) -> bool:
        return self._releasable() > position

    async def part(self, position: int, end: int | None) -> bytes:
        while self._releasable() <= position:
            if self._proven:
                return b""
            await self._read()
            self._forget(position)
        start = position - self._base
        stop = self._releasable() - self._base
        chunk = bytes(memoryview(self._window)[start : stop if end is None else min(stop, end - self._base)])
        del self._window[: start + len(chunk)]
        self._base += start + len(chunk)
        return chunk

    async def released(self, position: int) -> int:
        """The end of what may be sent from ``position``, which lies before its own bytes: waits until there is some."""
        while self._releasable() <= position:
            await self._read()
        return self._releasable()

    async def discard(self) -> None:
        """Nothing of it is held yet."""

    def close(self) -> None:
        if self._reading is not None and not self._reading.done():
            self._transfer.interrupt()
            self._reading.add_done_callback(self._ended)
        else:
            self._transfer.close()

    def _ended(self, reading: asyncio.Future[bytes]) -> None:
        reading.exception()
        self._transfer.close()

    def _forget(self, position: int) -> None:
        """Nobody will ask for what is before it."""
        passed = max(0, min(position - self._base, len(self._window)))
        del self._window[:passed]
        self._base += passed

    def _releasable(self) -> int:
        received = self._base + len(self._window)
        return received if self._proven else received - HELD_BACK

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        self._reading = loop.run_in_executor(self._movers, self._next)
        chunk = await asyncio.shield(self._reading)
        self._window += chunk
        if not chunk:
            if not self._hasher.agrees():
                raise WrongBytes(self._transfer.origin, "sent bytes that are not those of the digest")
            self._proven = True

    def _next(self) -> bytes:
        """In a thread: the next bytes that the hasher has not seen; none at the end."""
        buffer = bytearray(CHUNK)
        view = memoryview(buffer)
        while count := self._transfer.readinto(view):
            self._position += count
            fresh = min(count, self._position - self._hasher.count)
            if fresh > 0:
                self._hasher.update(view[count - fresh : count])
                return bytes(view[count - fresh : count])
        return b""
