"""The sender for TLS connections: what is large is encrypted in threads, never in the loop.

For a stream it borrows the connection's session, and writes the records to a duplicate of the socket itself. A piece is
read, sealed and sent in one go by one thread, so that it stays in the core's cache; what the socket does not take of it
is kept, sealed as it is, since a record cannot be made twice.
"""

import asyncio
import os
import socket
import ssl
from contextlib import closing
from functools import partial

from proxy.cache.body import BytesBody, FilePiece
from proxy.core.errors import StoreFailed
from proxy.front.plain_sender import PlainContent
from proxy.front.replies import Stream
from proxy.front.sender import ClientGone, TransportUnfit
from proxy.front.streams import Sent, Streams, Wire, come_since, duplicate
from proxy.front.tls_session import TlsSession
from proxy.front.tls_transport import TlsTransport

_AT_ONCE = 64 << 10  # bytes that are sealed in the loop
_LEAST, _MOST = 16 << 10, 112 << 10
"""Bytes that are sealed in one go. What is allocated from 128 KiB on is mapped anew each time, page by page, which can
cost as much as to encrypt it."""


class TlsSender:
    """Writes only to connections of ``TlsTransport``; ``streams`` is how."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def fits(self, transport: asyncio.Transport) -> bool:
        return isinstance(transport, TlsTransport)

    async def send(self, transport: asyncio.Transport, content: bytes) -> None:
        """What is long goes as a stream does."""
        if len(content) > _AT_ONCE:
            await self.send_stream(transport, content, Stream(BytesBody(b""), 0, 0), False)
            return
        _required(transport)
        if transport.get_write_buffer_size():
            await self._streams.drained(transport)
        transport.write(content)

    async def send_stream(self, transport: asyncio.Transport, head: bytes, stream: Stream, chunked: bool) -> int:
        """By a duplicate of the socket, with the session borrowed."""
        connection = _required(transport)
        if connection.get_write_buffer_size():
            await self._streams.drained(connection)
        with closing(duplicate(connection)) as sock, connection.borrowed() as session:
            wire = Wire(sock, _AT_ONCE, partial(SealedFile, session, sock), partial(SealedContent, session, sock))
            return await self._streams.send(wire, head, stream, chunked, connection.is_closing)


def _required(transport: asyncio.Transport) -> TlsTransport:
    if not isinstance(transport, TlsTransport):
        transport.abort()
        raise TransportUnfit("the TLS sender does not write to a connection of another kind")
    return transport


class _Line:
    """From a session to its socket."""

    __slots__ = ("_flags", "_records", "_session", "_sock", "left", "size")

    def __init__(self, session: TlsSession, sock: socket.socket, flags: int) -> None:
        self._session = session
        self._sock = sock
        self._flags = flags
        self._records = PlainContent(sock, b"", 0)
        self.left = 0  # bytes that are sealed, and not with the socket
        self.size = _MOST  # bytes to seal next: fewer where the client is slow, whose records wait in memory

    def seal(self, content: bytes | memoryview) -> None:
        try:
            records = self._session.sealed(content)
        except ssl.SSLError as cause:
            raise ClientGone(str(cause)) from cause
        self._records = PlainContent(self._sock, records, self._flags)
        self.left = self._records.left

    def send(self) -> Sent:
        taken = self._records.send(self.left)
        os.sched_yield()  # a kernel without preemption lets the event loop wait for a core that computes
        self.left = self._records.left
        self.size = _LEAST if taken.full else min(2 * self.size, _MOST)
        return taken


class SealedFile:
    """A part of an open file. ``left`` counts what is not sealed, and records."""

    __slots__ = ("_buffer", "_descriptor", "_end", "_line", "_more", "_position", "grows", "left", "length")

    def __init__(self, session: TlsSession, sock: socket.socket, piece: FilePiece) -> None:
        self._line = _Line(session, sock, 0)
        self._buffer = bytearray()  # kept from one piece to the next, while the client is fast
        self._descriptor, self._position, self._end, self._more = piece
        self.left = self.length = self._end - self._position
        self.grows = self._more is not None

    def send(self, most: int) -> Sent:
        """As of ``Feed``."""
        line = self._line
        if not line.left:
            content = self._read(min(most, line.size, self._end - self._position))
            self._position += len(content)
            line.seal(content)
        taken = line.send()
        if taken.full:
            self._buffer = bytearray()
        self.left = line.left + self._end - self._position
        return taken

    def follow(self, patience: float) -> None:
        """As of ``Feed``."""
        came = come_since(self._more, self._position, patience)
        self._end += came
        self.left += came
        self.length += came

    def _read(self, count: int) -> memoryview:
        if len(self._buffer) < count:
            self._buffer = bytearray(count)
        room = memoryview(self._buffer)[:count]
        try:
            came = os.preadv(self._descriptor, [room], self._position)
        except OSError as cause:
            raise StoreFailed(f"reading the store: {cause}") from cause
        if not came:
            raise StoreFailed("a file of the store ended before its time")
        return room[:came]


class SealedContent:
    """Bytes in memory. ``left`` counts what is not sealed, and records."""

    __slots__ = ("_line", "_rest", "grows", "left", "length")

    def __init__(self, session: TlsSession, sock: socket.socket, content: bytes, flags: int) -> None:
        self._line = _Line(session, sock, flags)
        self._rest = memoryview(content)
        self.left = self.length = len(content)
        self.grows = False

    def send(self, most: int) -> Sent:
        """As of ``Feed``."""
        line = self._line
        if not line.left:
            size = min(most, line.size)
            line.seal(self._rest[:size])
            self._rest = self._rest[size:]
        taken = line.send()
        self.left = line.left + len(self._rest)
        return taken

    def follow(self, patience: float) -> None:
        """It is whole."""
