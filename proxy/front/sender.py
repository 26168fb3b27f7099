"""The writer of bodies as a contract, and what writers know of a client: how fast it takes its reply, that it left, and
a file's way to it."""

import asyncio
import errno
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from proxy.core.errors import StoreFailed
from proxy.front.replies import Stream

_CLIENT_LEFT = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ETIMEDOUT, errno.ECONNABORTED})


class ClientGone(ConnectionError):
    """The client left, or reads too slowly to be worth its connection."""


class TransportUnfit(Exception):
    """A sender was handed a transport that it must not write to."""


class Sender(Protocol):
    """Writes exactly the length that a head promised, or cuts the connection. Each is for one kind of transport, and
    writes nothing to another: what goes round a transport that encrypts would go out in clear."""

    def fits(self, transport: asyncio.Transport) -> bool:
        """Is this the kind of transport that it is for?"""

    async def send(self, transport: asyncio.Transport, content: bytes) -> None:
        """A reply that is in memory whole. Raises ClientGone, TransportUnfit."""

    async def send_stream(self, transport: asyncio.Transport, head: bytes, stream: Stream, chunked: bool) -> int:
        """The head, then the stream; returns the bytes of the body. Whatever fails after this began cuts the connection
        and is raised: ClientGone, TransportUnfit, or the Fault of the body."""


@dataclass(frozen=True, slots=True)
class SenderRules:
    stall: float = 60.0  # seconds without progress before a client is cut off
    slowest: int = 16 << 10  # bytes per second on average, looked at once ``stall`` has passed


class Pace:
    """How fast one client takes its reply; time that we wait for upstream is not held against it."""

    def __init__(self, rules: SenderRules) -> None:
        self._rules = rules
        self._sent = 0
        self._waited = 0.0  # seconds, in all
        self._stalled = 0.0  # seconds since it took anything

    def sent(self, count: int) -> None:
        """It took ``count`` bytes."""
        self._sent += count
        self._stalled = 0.0

    def waited(self, seconds: float) -> None:
        """Raises ClientGone for a client that takes nothing for too long, or is slower than the rules allow."""
        self._waited += seconds
        self._stalled += seconds
        if self._stalled > self._rules.stall:
            raise ClientGone(f"the client took nothing for {self._rules.stall:.0f} s")
        if self._waited > self._rules.stall and self._sent < self._waited * self._rules.slowest:
            raise ClientGone(f"the client took {self._sent} bytes in {self._waited:.0f} s")


def send_file(sock: int, file: int, position: int, count: int) -> int:
    """How many bytes of the open file the socket took, without a copy through this process. Raises BlockingIOError,
    ClientGone, StoreFailed."""
    try:
        sent = os.sendfile(sock, file, position, count)
    except BlockingIOError:
        raise
    except OSError as cause:
        if cause.errno in _CLIENT_LEFT:
            raise ClientGone(str(cause)) from cause
        raise StoreFailed(f"reading the store: {cause}") from cause
    if sent == 0:
        raise StoreFailed("a file of the store ended before its time")
    return sent


def hang_up(sock: socket.socket) -> None:
    """Ends what a thread does with the socket; its descriptor stays the thread's until that is out."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
