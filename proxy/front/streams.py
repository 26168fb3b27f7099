"""How a stream goes out, whatever the connection: piece by piece, in threads where it takes long, and by the slow
clients' thread where its reader does not keep up. And what a client is held to meanwhile.

What differs between kinds of connections is how bytes get onto the socket: each has a wire for that.
"""

import asyncio
import errno
import os
import select
import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple, Protocol

from proxy.cache.body import FilePiece
from proxy.front.replies import Stream
from proxy.front.sender import ClientGone
from proxy.tasks.off_loop import off_loop

_QUANTUM = 32 << 20  # bytes one turn in a thread may send, so that turns are shared fairly
_PATIENCE = 5  # milliseconds that a turn waits for the socket before it gives the thread back
_SOON = 0.02  # seconds that a turn waits for what is still to arrive
_FOLLOWS = 0.25  # seconds after which a turn waits no more
_IDLE_POLL = 0.005  # seconds
_CLIENT_LEFT = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ETIMEDOUT, errno.ECONNABORTED})


@dataclass(frozen=True, slots=True)
class SenderRules:
    """What a client is held to."""

    stall: float = 60.0  # seconds without progress before a client is cut off
    slowest: int = 16 << 10  # bytes per second on average, looked at once ``stall`` has passed


@dataclass(slots=True)
class Pace:
    """How fast one client takes its reply; time that we wait for upstream is not held against it."""

    rules: SenderRules
    _sent: int = 0
    _waited: float = 0.0  # seconds, in all
    _stalled: float = 0.0  # seconds since it took anything

    def sent(self, count: int) -> None:
        """It took ``count`` bytes."""
        self._sent += count
        self._stalled = 0.0

    def waited(self, seconds: float) -> None:
        """Raises ClientGone for a client that takes nothing for too long, or is slower than the rules allow."""
        self._waited += seconds
        self._stalled += seconds
        if self._stalled > self.rules.stall:
            raise ClientGone(f"the client took nothing for {self.rules.stall:.0f} s")
        if self._waited > self.rules.stall and self._sent < self._waited * self.rules.slowest:
            raise ClientGone(f"the client took {self._sent} bytes in {self._waited:.0f} s")


class Sent(NamedTuple):
    """What came of one try."""

    size: int  # bytes that went to the socket
    full: bool  # it takes no more for now


FULL: Final = Sent(0, True)


class Feed(Protocol):
    """What one socket is still to be given, used by one thread at a time. ``left`` is 0 when the socket has all of
    ``length`` bytes; ``grows`` where more of the same may follow."""

    left: int
    length: int
    grows: bool

    def send(self, most: int) -> Sent:
        """About ``most`` bytes of it, without waiting. Raises ClientGone, StoreFailed."""

    def follow(self, patience: float) -> None:
        """Takes on what has come meanwhile; where nothing has, waits for it up to so many seconds."""


def come_since(more: Callable[[int, float], int] | None, position: int, patience: float) -> int:
    """Bytes of a growing file that have come behind ``position``; ``more`` as of ``FilePiece``, for as many seconds."""
    return max(0, more(position, patience) - position) if more is not None else 0


SendSlowly = Callable[[socket.socket, Feed, Pace], Awaitable[None]]
"""Takes over where a socket is full, until nothing is left or the client has become fast. Raises ClientGone,
StoreFailed."""


def client_left(cause: OSError) -> bool:
    """Whether it is the client's doing that a socket took nothing."""
    return cause.errno in _CLIENT_LEFT


def hang_up(sock: socket.socket) -> None:
    """Ends what a thread does with the socket; its descriptor stays the thread's until that is out."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


class Wire(NamedTuple):
    """From bytes to the socket of one connection. Content of more than ``at_once`` bytes is sent from a thread."""

    sock: socket.socket
    at_once: float
    file: Callable[[FilePiece], Feed]
    content: Callable[[bytes, int], Feed]  # with flags as of ``send``


class Streams:
    """``threads`` runs the turns, ``count`` at once."""

    def __init__(self, threads: Executor, count: int, send_slowly: SendSlowly, rules: SenderRules) -> None:
        self._threads = threads
        self._at_leisure = count * 3 // 4  # turns; below that there are threads to spare
        self._send_slowly = send_slowly
        self._rules = rules
        self._turns = 0  # running and waiting for a thread

    async def drained(self, transport: asyncio.Transport) -> None:
        """Until nothing of earlier replies is left in the transport's own buffer, where pipelined requests leave some.
        Raises ClientGone."""
        await asyncio.sleep(0)  # the loop writes at the end of its turn
        deadline = asyncio.get_running_loop().time() + self._rules.stall
        while transport.get_write_buffer_size():
            if transport.is_closing() or asyncio.get_running_loop().time() > deadline:
                transport.abort()
                raise ClientGone("the client takes no replies")
            await asyncio.sleep(_IDLE_POLL)

    async def send(self, wire: Wire, head: bytes, stream: Stream, chunked: bool, is_closing: Callable[[], bool]) -> int:
        """The head and the body; returns the bytes of the body. Raises ClientGone, or the Fault of the body."""
        pace = Pace(self._rules)
        await self._content(wire, head, socket.MSG_MORE if stream.body.ready(stream.start) else 0, pace)
        while (position := stream.start + stream.sent) != stream.end:
            piece = await stream.body.piece(position, stream.end)
            if is_closing():
                raise ClientGone("the client closed the connection")
            if not piece:
                break
            if chunked:
                length = piece.end - piece.start if isinstance(piece, FilePiece) else len(piece)
                await self._content(wire, b"%x\r\n" % length, socket.MSG_MORE, pace)
            if isinstance(piece, FilePiece):
                feed = wire.file(piece._replace(more=None) if chunked else piece)
                try:
                    await self._in_threads(wire.sock, feed, pace)
                finally:
                    stream.sent += max(0, feed.length - feed.left)
            else:
                await self._content(wire, piece, 0, pace)
                stream.sent += len(piece)
            if chunked:
                await self._content(wire, b"\r\n", 0, pace)
        if chunked:
            await self._content(wire, b"0\r\n\r\n", 0, pace)
        return stream.sent

    async def _content(self, wire: Wire, content: bytes, flags: int, pace: Pace) -> None:
        feed = wire.content(content, flags)
        if len(content) > wire.at_once:
            await self._in_threads(wire.sock, feed, pace)
            return
        while feed.left:
            count, full = feed.send(feed.left)
            if count:
                pace.sent(count)
            if full:
                await self._writable(wire.sock, pace)

    async def _in_threads(self, sock: socket.socket, feed: Feed, pace: Pace) -> None:
        """Turn by turn. Patience is for quiet times: with others waiting, a thread does not wait itself."""
        while feed.left:
            patience = _PATIENCE if self._turns < self._at_leisure else 0
            self._turns += 1
            try:
                turn = partial(_push, sock.fileno(), feed, patience)
                count, full = await off_loop(self._threads, turn, partial(hang_up, sock))
            finally:
                self._turns -= 1
            pace.sent(count)
            if full:
                await self._send_slowly(sock, feed, pace)

    async def _writable(self, sock: socket.socket, pace: Pace) -> None:
        """Parked in the loop. Raises ClientGone when the client takes nothing for too long."""
        loop = asyncio.get_running_loop()
        writable = loop.create_future()
        loop.add_writer(sock.fileno(), _resolve, writable)
        parked = loop.time()
        try:
            async with asyncio.timeout(self._rules.stall):
                await writable
        except TimeoutError:
            raise ClientGone(f"the client took nothing for {self._rules.stall:.0f} s") from None
        finally:
            loop.remove_writer(sock.fileno())
        pace.waited(loop.time() - parked)


def duplicate(transport: asyncio.Transport) -> socket.socket:
    """A descriptor of our own: the loop refuses to watch one that its transport uses, and the transport may close
    its own at any time. Raises ClientGone."""
    own = transport.get_extra_info("socket")
    if own is None or transport.is_closing():
        raise ClientGone("the client closed the connection")
    sock = socket.socket(fileno=os.dup(own.fileno()))
    sock.setblocking(False)
    return sock


def _resolve(writable: "asyncio.Future[None]") -> None:
    if not writable.done():
        writable.set_result(None)


def _push(sock: int, feed: Feed, patience: int) -> Sent:
    """One turn in a thread."""
    sent, until = 0, time.monotonic() + _FOLLOWS
    while feed.left and sent < _QUANTUM:
        count, _ = feed.send(_QUANTUM - sent)
        sent += count
        if not count:
            poller = select.poll()
            poller.register(sock, select.POLLOUT)
            if not patience or not poller.poll(patience):
                return Sent(sent, True)
        elif feed.grows and not feed.left and patience and time.monotonic() < until:
            feed.follow(_SOON)
    return Sent(sent, False)
