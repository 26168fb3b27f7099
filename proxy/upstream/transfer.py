"""A blob's body on its way: blocking reads straight into the mover's buffer, watched for stalls and for shortness."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from proxy.core.errors import UpstreamBroken, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from proxy.upstream.client import HttpAnswer
from proxy.upstream.connections import ShortBody
from proxy.upstream.http1 import AnswerMalformed
from proxy.upstream.settings import ExchangeLimits


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
        opened: HttpAnswer,
        span: tuple[int, int | None],
        limits: ExchangeLimits,
        now: Callable[[], float],
        count: Callable[[int], None],
    ) -> None:
        self.offset, self.size = span
        self.origin = upstream
        self._opened: HttpAnswer | None = opened
        self._body = opened.body
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
        except (OSError, AnswerMalformed) as cause:
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

    def _fault(self, cause: Exception) -> UpstreamFault:
        if self._interrupted:
            return UpstreamUnreachable(self.origin, "the transfer was interrupted")
        if isinstance(cause, TimeoutError):
            return UpstreamTimeout(self.origin, f"nothing of the blob came for {self._limits.stall:g} s")
        if isinstance(cause, AnswerMalformed):
            return UpstreamBroken(self.origin, f"the blob did not come in HTTP: {cause}")
        if isinstance(cause, ShortBody):
            return UpstreamUnreachable(self.origin, f"the blob broke off: {cause}")
        return UpstreamUnreachable(self.origin, f"the blob broke off ({type(cause).__name__})")
