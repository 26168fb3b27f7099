"""The one writer of bodies: exactly the length that the head promised, or the connection is cut.

The head and a file go out on the socket under the transport, once the transport's own buffer is empty: ``sendfile`` in
a thread until the socket takes no more. A fast reader keeps its thread through a short poll; slow ones share a thread
of their own.
"""

import asyncio
import os
import select
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from proxy.cache.body import FilePiece
from proxy.core.errors import StoreFailed
from proxy.front.client import ClientGone, Pace, SenderRules, send_file, until_out
from proxy.front.replies import Stream
from proxy.front.slow_clients import SlowClients

_QUANTUM = 32 << 20  # bytes one turn in a thread may send, so that turns are shared fairly
_PATIENCE = 5  # milliseconds that a turn waits for the socket before it gives the thread back
_AT_LEISURE = 12  # turns; below that there are threads to spare
_IDLE_POLL = 0.005  # seconds


class PlainSender:
    """``threads`` runs the turns, as many at once as it has threads."""

    def __init__(self, threads: ThreadPoolExecutor, slow: SlowClients, rules: SenderRules) -> None:
        self._threads = threads
        self._slow_clients = slow
        self._rules = rules
        self._turns = 0  # running and waiting for a thread

    async def send(self, transport: asyncio.Transport, content: bytes) -> None:
        """A reply that is in memory whole. Raises ClientGone."""
        await self._drained(transport)
        transport.write(content)

    async def send_stream(self, transport: asyncio.Transport, head: bytes, piece_of: Stream, chunked: bool) -> int:
        """The head, then the stretch; returns the bytes of the body. Whatever fails after this began cuts the
        connection and is raised: ClientGone, or the Fault of the body."""
        sent = 0
        try:
            await self._drained(transport)
            with closing(_duplicate(transport)) as sock:
                more = socket.MSG_MORE if piece_of.body.ready(piece_of.start) else 0
                pace = Pace(self._rules)
                await self._send_bytes(sock, head, more, pace)
                sent = await self._send_body(transport, sock, piece_of, chunked, pace)
        except BaseException as cause:
            transport.abort()
            if isinstance(cause, StoreFailed):
                await piece_of.body.discard()
            raise
        return sent

    async def _send_body(
        self, transport: asyncio.Transport, sock: socket.socket, piece_of: Stream, chunked: bool, pace: Pace
    ) -> int:
        position = piece_of.start
        while piece_of.end is None or position < piece_of.end:
            piece = await piece_of.body.piece(position, piece_of.end)
            if transport.is_closing():
                raise ClientGone("the client closed the connection")
            if isinstance(piece, FilePiece):
                await self._send_file(sock, piece, chunked, pace)
                position = piece.end
            elif piece:
                await self._send_bytes(sock, _chunk(piece) if chunked else piece, 0, pace)
                position += len(piece)
            else:
                break
        if chunked:
            await self._send_bytes(sock, b"0\r\n\r\n", 0, pace)
        return position - piece_of.start

    async def _send_file(self, sock: socket.socket, piece: FilePiece, chunked: bool, pace: Pace) -> None:
        if chunked:
            await self._send_bytes(sock, f"{piece.end - piece.start:x}\r\n".encode(), socket.MSG_MORE, pace)
        position = piece.start
        while position < piece.end:
            before = position
            position, full = await self._turn(sock, piece, position)
            pace.sent(position - before)
            if full:
                position = await self._slow_clients.send(sock, piece, position, pace)
        if chunked:
            await self._send_bytes(sock, b"\r\n", 0, pace)

    async def _turn(self, sock: socket.socket, piece: FilePiece, position: int) -> tuple[int, bool]:
        """One turn in a thread. Patience is for quiet times: with others waiting, a thread does not wait itself."""
        patience = _PATIENCE if self._turns < _AT_LEISURE else 0
        self._turns += 1
        turn = asyncio.get_running_loop().run_in_executor(
            self._threads, _push, sock.fileno(), piece.descriptor, position, piece.end, patience
        )
        try:
            return await until_out(turn, sock)
        finally:
            self._turns -= 1

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


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def _push(sock: int, file: int, position: int, end: int, patience: int) -> tuple[int, bool]:
    """One turn in a thread: (how far it got, whether the socket takes no more)."""
    stop = min(end, position + _QUANTUM)
    while position < stop:
        try:
            position += send_file(sock, file, position, stop - position)
        except BlockingIOError:
            poller = select.poll()
            poller.register(sock, select.POLLOUT)
            if not patience or not poller.poll(patience):
                return position, True
    return position, False
