"""A blob's body on its way: blocking reads straight into the mover's buffer, watched for stalls and for shortness."""

import http.client
import io
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from proxy.core.errors import Outage, UpstreamTimeout, UpstreamUnreachable
from proxy.upstream.settings import ExchangeLimits
from proxy.upstream.streaming import StreamingAnswer


@dataclass(slots=True)
class Throughput:
    """Is a transfer too slow to go on? Counts what arrived over spells of ``window`` seconds of waiting. Time in which
    nobody waited for the upstream is not the upstream's and does not count."""

    window: float  # seconds
    slowest: float  # bytes per second
    _arrived: int = 0
    _waited: float = 0.0

    def fell_short(self, count: int, waited: float) -> bool:
        """After ``count`` bytes that took ``waited`` seconds: did the spell that ends here bring too little?"""
        self._arrived += count
        self._waited += waited
        if self._waited < self.window:
            return False
        short = self._arrived < self.slowest * self._waited
        self._arrived, self._waited = 0, 0.0
        return short


class ShortBody(OSError):
    """The body ended before its promised length."""


class AnswerBody(Protocol):
    """A body by its framing (RFC 9112 section 6.3)."""

    finished: bool  # read to its end, so that the connection can be used again

    def readinto(self, buffer: memoryview) -> int:
        """As ``core.transfer.Transfer``; raises OSError or http.client.HTTPException."""


class BodyReader:
    """The bytes behind the headers: what the library has read ahead, then those of the socket itself, straight into
    the caller's buffer. The library's own ``readinto1`` would wait for the socket though it had bytes to give."""

    def __init__(self, buffered: io.BufferedReader) -> None:
        self.ahead = True  # the library may hold bytes that it read on behind the headers
        self._buffered = buffered
        self._ahead: bytes | None = None

    def readinto(self, room: memoryview) -> int:
        """Waits for at least one byte; 0 at the end."""
        if self._ahead is None:
            self._ahead = self._buffered.read1(len(self._buffered.peek(1)))
        if not self._ahead:
            self.ahead = False
            return self._buffered.raw.readinto(room) or 0
        count = min(len(room), len(self._ahead))
        room[:count] = self._ahead[:count]
        self._ahead = self._ahead[count:]
        self.ahead = bool(self._ahead)
        return count


class LengthBody:
    """Of a promised length, straight from the socket into our buffer once the library's own buffer is empty."""

    def __init__(self, opened: StreamingAnswer, length: int, stall: float) -> None:
        self._connection = opened.connection
        self._source = BodyReader(opened.response.fp)
        self._left = length
        self._stall = stall
        self.finished = length == 0

    def readinto(self, buffer: memoryview) -> int:
        room = buffer[: self._left]
        if not room:
            return 0
        if self._source.ahead or not self._connection.gathers:
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
                count = self._source.readinto(room[filled:])
            except OSError:
                if filled == 0:
                    raise
                break  # what has come is delivered first; the next read meets the fault again
            filled += count
            if count == 0 or self._connection.gathers or not self._connection.readable():
                break
        return filled


class ChunkedBody:
    """In chunks (RFC 9112 section 7.1); their end is the body's."""

    def __init__(self, opened: StreamingAnswer) -> None:
        self._response = opened.response
        self.finished = False

    def readinto(self, buffer: memoryview) -> int:
        if self.finished:
            return 0
        try:
            piece = self._response.read1(len(buffer))
        except http.client.IncompleteRead as short:
            raise ShortBody("it ended within a chunk") from short
        buffer[: len(piece)] = piece
        self.finished = not piece
        return len(piece)


class OpenEndedBody:
    """Ends with the connection: whether it is whole only its digest tells."""

    def __init__(self, opened: StreamingAnswer) -> None:
        self._source = BodyReader(opened.response.fp)
        self.finished = False

    def readinto(self, buffer: memoryview) -> int:
        return self._source.readinto(buffer)


def body_of(opened: StreamingAnswer, stall: float) -> AnswerBody:
    """``stall`` is in seconds."""
    if opened.response.chunked:
        return ChunkedBody(opened)
    if opened.response.length is None:
        return OpenEndedBody(opened)
    return LengthBody(opened, opened.response.length, stall)


class BytesTransfer:
    """``core.transfer.Transfer`` of a blob that is here already, whole."""

    def __init__(self, upstream: str, content: bytes) -> None:
        self.origin = upstream
        self.offset = 0
        self.size: int | None = len(content)
        self._left = memoryview(content)

    def readinto(self, buffer: memoryview) -> int:
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count

    def interrupt(self) -> None:
        """Nobody waits here."""

    def close(self) -> None:
        """Nothing is held open."""


class HttpTransfer:
    """``core.transfer.Transfer`` over one HTTP connection. ``count`` is told of all that arrives."""

    def __init__(
        self,
        upstream: str,
        opened: StreamingAnswer,
        span: tuple[int, int | None],
        limits: ExchangeLimits,
        now: Callable[[], float],
        count: Callable[[int], None],
    ) -> None:
        self.offset, self.size = span
        self.origin = upstream
        self._opened: StreamingAnswer | None = opened
        self._body = body_of(opened, limits.stall)
        self._limits = limits
        self._throughput = Throughput(limits.slow_window, limits.slowest)
        self._now = now
        self._count = count
        self._lock = threading.Lock()
        self._interrupted = False

    def readinto(self, buffer: memoryview) -> int:
        if self._interrupted or self._opened is None:
            raise UpstreamUnreachable(self.origin, "the transfer was interrupted")
        asked = self._now()
        try:
            arrived = self._body.readinto(buffer)
        except (OSError, http.client.HTTPException, ValueError) as cause:
            raise self._fault(cause) from cause
        if self._interrupted:
            raise UpstreamUnreachable(self.origin, "the transfer was interrupted")
        self._count(arrived)
        if self._throughput.fell_short(arrived, self._now() - asked) and not self._body.finished:
            slowest = int(self._limits.slowest / 1024)
            why = f"the blob came slower than {slowest} KiB/s over {self._limits.slow_window:g} s"
            raise UpstreamTimeout(self.origin, why)
        return arrived

    def interrupt(self) -> None:
        with self._lock:
            self._interrupted = True
            if self._opened is not None:
                self._opened.connection.interrupt()

    def close(self) -> None:
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is None:
            return
        if self._body.finished and not self._interrupted:
            opened.release()
        else:
            opened.discard()

    def _fault(self, cause: Exception) -> Outage:
        if self._interrupted:
            return UpstreamUnreachable(self.origin, "the transfer was interrupted")
        if isinstance(cause, TimeoutError):
            return UpstreamTimeout(self.origin, f"nothing of the blob came for {self._limits.stall:g} s")
        if isinstance(cause, ShortBody):
            return UpstreamUnreachable(self.origin, f"the blob broke off: {cause}")
        return UpstreamUnreachable(self.origin, f"the blob broke off ({type(cause).__name__})")
