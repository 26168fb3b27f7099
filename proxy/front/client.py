"""What the writers of bodies know of a client: how fast it takes its reply, that it left, and a file's way to it."""

import asyncio
import errno
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from proxy.core.errors import StoreFailed

T = TypeVar("T")
_CLIENT_LEFT = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ETIMEDOUT, errno.ECONNABORTED})


class ClientGone(ConnectionError):
    """The client left, or reads too slowly to be worth its connection."""


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


async def until_out(working: "asyncio.Future[T]", sock: socket.socket) -> T:
    """What a thread does with the socket and a file, to its end. Both descriptors are the thread's until it is out:
    closed before, their numbers may be somebody else's. So whoever cancels this ends the connection, and waits."""
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        await asyncio.wait([working])
        working.exception()
        raise


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
