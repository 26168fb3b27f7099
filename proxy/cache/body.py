"""Bytes on their way to a client, wherever they come from.

One pull-style contract serves a hit, a miss, a join and a pass-through alike: the sender asks for the piece at its
position and gets either a span of an open file, to be copied by the kernel, or bytes. Asking waits until there is
something to send.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from proxy.core.names import Digest
from proxy.storage.contract import BlobReader


class FilePiece(NamedTuple):
    """Bytes ``start`` up to ``end`` of an open file. ``more(position, patience)`` is the end of what can be sent from
    there by now; where nothing can, it waits up to so many seconds, so it is for threads only."""

    descriptor: int
    start: int
    end: int
    more: Callable[[int, float], int] | None = None


class Body(Protocol):
    size: int | None  # bytes of the whole blob; None while nobody knows

    def ready(self, position: int) -> bool:
        """Would ``piece`` return without waiting for upstream?"""

    async def piece(self, position: int, end: int | None) -> FilePiece | bytes:
        """What can be sent from ``position`` now, not beyond ``end``; empty bytes at the end of a blob whose size was
        not known. Raises a Fault when the blob will never be whole: the response must then break off."""

    async def discard(self) -> None:
        """The sender could not read it to its end: what is held of it is not to be trusted."""

    def close(self) -> None:
        """Idempotent."""


class HeldBody:
    """Bytes that are committed. ``discard`` puts them out of reach. While it is open, ``readers`` counts it under its
    digest."""

    def __init__(
        self,
        reader: BlobReader,
        digest: Digest,
        readers: Counter[Digest],
        discard: Callable[[], Awaitable[None]],
    ) -> None:
        self.size: int | None = reader.size
        self.reader = reader
        self._digest = digest
        self._readers = readers
        self._discard = discard
        self._is_open = True
        readers[digest] += 1

    def ready(self, position: int) -> bool:
        return True

    async def piece(self, position: int, end: int | None) -> FilePiece | bytes:
        return FilePiece(self.reader.fileno(), position, self.reader.size if end is None else end)

    async def discard(self) -> None:
        await self._discard()

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self.reader.close()
            self._readers[self._digest] -= 1
            if not self._readers[self._digest]:
                del self._readers[self._digest]


class BytesBody:
    """Something small, in memory whole."""

    def __init__(self, raw: bytes) -> None:
        self.size: int | None = len(raw)
        self._raw = raw

    def ready(self, position: int) -> bool:
        return True

    async def piece(self, position: int, end: int | None) -> bytes:
        return self._raw[position:end]

    async def discard(self) -> None:
        """It was read whole and proven."""

    def close(self) -> None:
        """Nothing is open."""
