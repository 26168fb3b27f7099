"""Bodies on plain connections: by the kernel, without a copy through this process.

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
from functools import partial

from proxy.cache.body import FilePiece
from proxy.core.errors import StoreFailed
from proxy.front.replies import Stream
from proxy.front.sender import ClientGone, Pace, SenderRules, TransportUnfit, hang_up, send_file
from proxy.front.slow_clients import SlowClients
from proxy.tasks.off_loop import off_loop

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
                await self._send_file(sock, piece, pace)
            else:
                await self._send_bytes(sock, piece, 0, pace)
            if chunked:
                await self._send_bytes(sock, b"\r\n", 0, pace)
            position += length
        if chunked:
            await self._send_bytes(sock, b"0\r\n\r\n", 0, pace)
        return position - stream.start

    async def _send_file(self, sock: socket.socket, piece: FilePiece, pace: Pace) -> None:
        """Turn by turn in threads. Patience is for quiet times: with others waiting, a thread does not wait itself."""
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
            if full:
                piece = piece._replace(start=await self._slow_clients.send(sock, piece, pace))

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
    position, stop = piece.start, min(piece.end, piece.start + _QUANTUM)
    while position < stop:
        try:
            position += send_file(sock, piece.descriptor, position, stop - position)
        except BlockingIOError:
            poller = select.poll()
            poller.register(sock, select.POLLOUT)
            if not patience or not poller.poll(patience):
                return position, True
    return position, False
