"""Bodies of answers on their way: blocking reads straight into the caller's buffer, by what frames them (RFC 9112
section 6.3)."""

from typing import Protocol

from proxy.upstream.connections import UpstreamConnection
from proxy.upstream.http1 import ChunkDecoder, Framing


class ShortBody(OSError):
    """The body ended before its end."""


class AnswerBody(Protocol):
    """Belongs to one thread at a time."""

    finished: bool  # read to its end, so that the connection may be used again

    def readinto(self, buffer: memoryview) -> int:
        """Waits for at least one byte; 0 at the end. Raises ShortBody, another OSError or AnswerMalformed."""


class LengthBody:
    """Of a promised length, straight from the socket into the buffer but for what came with the head."""

    def __init__(self, connection: UpstreamConnection, length: int, stall: float) -> None:
        self._connection = connection
        self._left = length
        self._stall = stall  # seconds
        self.finished = length == 0

    def readinto(self, buffer: memoryview) -> int:
        room = buffer[: self._left]
        if not room:
            return 0
        if self._connection.ahead or not self._connection.gathers:
            count = self._read(room)
        else:
            count = self._connection.gather(room, self._stall)
        if count == 0:
            raise ShortBody(f"it ended {self._left} bytes early")
        self._left -= count
        self.finished = self._left == 0
        return count

    def _read(self, room: memoryview) -> int:
        """What has come, with TLS in steps of 16 KiB at most."""
        filled = 0
        while filled < len(room):
            try:
                count = self._connection.receive(room[filled:])
            except OSError:
                if filled == 0:
                    raise
                break  # what has come is delivered first; the next read meets the fault again
            filled += count
            if count == 0 or self._connection.gathers or not self._connection.readable():
                break
        return filled


class ChunkedBody:
    """In chunks; their end is the body's."""

    def __init__(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        self._decoder = ChunkDecoder()
        self.finished = False

    def readinto(self, buffer: memoryview) -> int:
        count = 0
        while count == 0 and not self._decoder.finished:
            came = self._connection.receive(buffer)
            if came == 0:
                raise ShortBody("it ended within its chunks")
            count = self._decoder.decode(buffer[:came])
        self.finished = self._decoder.finished and not self._decoder.surplus
        return count


class OpenEndedBody:
    """Ends with the connection: whether it is whole only its digest tells."""

    def __init__(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        self.finished = False

    def readinto(self, buffer: memoryview) -> int:
        return self._connection.receive(buffer)


def body_of(connection: UpstreamConnection, framed: Framing, stall: float) -> AnswerBody:
    """``stall`` is in seconds."""
    if framed.chunked:
        return ChunkedBody(connection)
    if framed.length is None:
        return OpenEndedBody(connection)
    return LengthBody(connection, framed.length, stall)
