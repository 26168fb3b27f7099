"""The sender for plain connections, where the kernel copies and not this process.

The head and a file go out on the socket under the transport, once the transport's own buffer is empty: ``sendfile`` in
a thread until the socket takes no more.
"""

import asyncio
import math
import os
import socket
from contextlib import closing
from functools import partial
from typing import NoReturn

from proxy.cache.body import FilePiece
from proxy.core.errors import StoreFailed
from proxy.front.replies import Stream
from proxy.front.sender import ClientGone, TransportUnfit
from proxy.front.streams import FULL, Sent, Streams, Wire, client_left, come_since, duplicate


class PlainSender:
    """Writes only to what is not encrypted; ``streams`` is how."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def fits(self, transport: asyncio.Transport) -> bool:
        """Only where what is written to the socket is what the client reads."""
        return transport.get_extra_info("ssl_object") is None

    async def send(self, transport: asyncio.Transport, content: bytes) -> None:
        """By the transport's own buffer."""
        if not self.fits(transport):
            _refuse(transport)
        if transport.get_write_buffer_size():
            await self._streams.drained(transport)
        transport.write(content)

    async def send_stream(self, transport: asyncio.Transport, head: bytes, stream: Stream, chunked: bool) -> int:
        """By a duplicate of its socket."""
        if not self.fits(transport):
            _refuse(transport)
        if transport.get_write_buffer_size():
            await self._streams.drained(transport)
        with closing(duplicate(transport)) as sock:
            # Copying what is in memory anyway costs less than a thread.
            wire = Wire(sock, math.inf, partial(PlainFile, sock.fileno()), partial(PlainContent, sock))
            return await self._streams.send(wire, head, stream, chunked, transport.is_closing)


def _refuse(transport: asyncio.Transport) -> NoReturn:
    transport.abort()
    raise TransportUnfit("the plain sender does not write to a connection that is encrypted")


class PlainFile:
    """A part of an open file, that goes to the socket without a copy through this process."""

    __slots__ = ("_descriptor", "_more", "_position", "_sock", "grows", "left", "length")

    def __init__(self, sock: int, piece: FilePiece) -> None:
        self._sock = sock
        self._descriptor, self._position, end, self._more = piece
        self.left = self.length = end - self._position
        self.grows = self._more is not None

    def send(self, most: int) -> Sent:
        """As of ``Feed``."""
        asked = min(most, self.left)
        try:
            sent = os.sendfile(self._sock, self._descriptor, self._position, asked)
        except BlockingIOError:
            return FULL
        except OSError as cause:
            if client_left(cause):
                raise ClientGone(str(cause)) from cause
            raise StoreFailed(f"reading the store: {cause}") from cause
        if sent == 0:
            raise StoreFailed("a file of the store ended before its time")
        self._position += sent
        self.left -= sent
        return Sent(sent, sent < asked)

    def follow(self, patience: float) -> None:
        """As of ``Feed``."""
        came = come_since(self._more, self._position, patience)
        self.left += came
        self.length += came


class PlainContent:
    """Bytes in memory."""

    __slots__ = ("_flags", "_rest", "_sock", "grows", "left", "length")

    def __init__(self, sock: socket.socket, content: bytes, flags: int) -> None:
        self._sock = sock
        self._rest = memoryview(content)
        self._flags = flags
        self.left = self.length = len(content)
        self.grows = False

    def send(self, most: int) -> Sent:
        """As of ``Feed``."""
        asked = min(most, self.left)
        try:
            sent = self._sock.send(self._rest[:asked], self._flags)
        except BlockingIOError:
            return FULL
        except OSError as cause:
            raise ClientGone(str(cause)) from cause
        self._rest = self._rest[sent:]
        self.left -= sent
        return Sent(sent, sent < asked)

    def follow(self, patience: float) -> None:
        """It is whole."""
