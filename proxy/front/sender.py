"""The writer of bodies: as a contract, and on plain connections, where the kernel copies and not this process.

The head and a file go out on the socket under the transport, once the transport's own buffer is empty: ``sendfile`` in
a thread until the socket takes no more. A fast reader keeps its thread through a short poll; a slow one is left to
others.
"""

import asyncio
import errno
import os
import select
import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from proxy.cache.body import FilePiece
from proxy.core.errors import StoreFailed
from proxy.front.replies import Stream
from proxy.tasks.off_loop import off_loop

_QUANTUM = 32 << 20  # bytes one turn in a thread may send, so that turns are shared fairly
_PATIENCE = 5  # milliseconds that a turn waits for the socket before it gives the thread back
_SOON = 0.02  # seconds that a turn waits for what is still to arrive
_FOLLOWS = 0.25  # seconds after which a turn waits no more
_AT_LEISURE = 12  # turns; below that there are threads to spare
_IDLE_POLL = 0.005  # seconds
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


SendSlowly = Callable[[socket.socket, FilePiece, Pace], Awaitable[int]]
"""Takes over where a socket is full: how far of the piece it got. Raises ClientGone, StoreFailed."""


class PlainSender:
    """``threads`` runs the turns, as many at once as it has threads."""

    def __init__(self, threads: ThreadPoolExecutor, send_slowly: SendSlowly, rules: SenderRules) -> None:
        self._threads = threads
        self._send_slowly = send_slowly
        self._rules = rules
        self._turns = 0  # running and waiting for a thread

    def fits(self, transport: asyncio.Transport) -> bool:
        """Only where what is written to the socket is what the client reads."""
        return transport.get_extra_info("ssl_object") is None

    async def send(self, transport: asyncio.Transport, content: bytes) -> None:
        await self._drained(transport)
        transport.write(content)

    async def send_stream(self, transport: asyncio.Transport, head: bytes, stream: Stream, chunked: bool) -> int:
        try:
            await self._drained(transport)
            with closing(_duplicate(transport)) as sock:
                pace = Pace(self._rules)
                await self._send_bytes(sock, head, socket.MSG_MORE if stream.body.ready(stream.start) else 0, pace)
                return await self._send_body(transport, sock, stream, chunked, pace)
        except BaseException as cause:
            transport.abort()
            if isinstance(cause, StoreFailed):
                await stream.body.discard()
            raise

    async def _send_body(
        self, transport: asyncio.Transport, sock: socket.socket, stream: Stream, chunked: bool, pace: Pace
    ) -> int:
        position = stream.start
        while stream.end is None or position < stream.end:
            piece = await stream.body.piece(position, stream.end)
            if transport.is_closing():
                raise ClientGone("the client closed the connection")
            if not piece:
                break
            length = piece.end - piece.start if isinstance(piece, FilePiece) else len(piece)
            if chunked:
                await self._send_bytes(sock, b"%x\r\n" % length, socket.MSG_MORE, pace)
            if isinstance(piece, FilePiece):
                length = await self._send_file(sock, piece._replace(more=None) if chunked else piece, pace)
            else:
                await self._send_bytes(sock, piece, 0, pace)
            if chunked:
                await self._send_bytes(sock, b"\r\n", 0, pace)
            position += length
        if chunked:
            await self._send_bytes(sock, b"0\r\n\r\n", 0, pace)
        return position - stream.start

    async def _send_file(self, sock: socket.socket, piece: FilePiece, pace: Pace) -> int:
        """Turn by turn in threads; returns the bytes sent, which are more than the piece's where more came meanwhile.
        Patience is for quiet times: with others waiting, a thread does not wait itself."""
        start = piece.start
        while piece.start < piece.end:
            patience = _PATIENCE if self._turns < _AT_LEISURE else 0
            self._turns += 1
            try:
                turn = partial(_push, sock.fileno(), piece, patience)
                position, full = await off_loop(self._threads, turn, partial(hang_up, sock))
            finally:
                self._turns -= 1
            pace.sent(position - piece.start)
            piece = piece._replace(start=position)
            if full and position < piece.end:
                piece = piece._replace(start=await self._send_slowly(sock, piece, pace))
        return piece.start - start

    async def _send_bytes(self, sock: socket.socket, content: bytes, flags: int, pace: Pace) -> None:
        rest = memoryview(content)
        while rest:
            try:
                count = sock.send(rest, flags)
                pace.sent(count)
                rest = rest[count:]
            except BlockingIOError:
                await self._writable(sock, pace)
            except OSError as cause:
                raise ClientGone(str(cause)) from cause

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

    async def _drained(self, transport: asyncio.Transport) -> None:
        """Nothing of earlier replies is left in the transport's own buffer: seldom so with pipelined requests, and
        always otherwise."""
        if not self.fits(transport):
            transport.abort()
            raise TransportUnfit("the plain sender does not write to a connection that is encrypted")
        if not transport.get_write_buffer_size():
            return
        await asyncio.sleep(0)  # the loop writes at the end of its turn
        deadline = asyncio.get_running_loop().time() + self._rules.stall
        while transport.get_write_buffer_size():
            if transport.is_closing() or asyncio.get_running_loop().time() > deadline:
                transport.abort()
                raise ClientGone("the client takes no replies")
            await asyncio.sleep(_IDLE_POLL)


def _resolve(writable: "asyncio.Future[None]") -> None:
    if not writable.done():
        writable.set_result(None)


def _duplicate(transport: asyncio.Transport) -> socket.socket:
    """A descriptor of our own: the loop refuses to watch one that its transport uses, and the transport may close
    its own at any time."""
    own = transport.get_extra_info("socket")
    if own is None or transport.is_closing():
        raise ClientGone("the client closed the connection")
    sock = socket.socket(fileno=os.dup(own.fileno()))
    sock.setblocking(False)
    return sock


def _push(sock: int, piece: FilePiece, patience: int) -> tuple[int, bool]:
    """One turn in a thread: (how far it got, whether the socket takes no more)."""
    position, stop, until = piece.start, min(piece.end, piece.start + _QUANTUM), time.monotonic() + _FOLLOWS
    while position < stop:
        try:
            position += send_file(sock, piece.descriptor, position, stop - position)
        except BlockingIOError:
            poller = select.poll()
            poller.register(sock, select.POLLOUT)
            if not patience or not poller.poll(patience):
                return position, True
        if position == piece.end and piece.more is not None and patience and time.monotonic() < until:
            piece = piece._replace(end=max(position, piece.more(position, _SOON)))
            stop = min(piece.end, piece.start + _QUANTUM)
    return position, False
