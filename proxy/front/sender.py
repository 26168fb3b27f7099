"""The writer of bodies, as a contract."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from proxy.front.replies import Stream


class ClientGone(ConnectionError):
    """The client left, or reads too slowly to be worth its connection."""


class TransportUnfit(Exception):
    """A sender was handed a transport that it must not write to."""


class Sender(Protocol):
    """Writes exactly the length that a head promised, or raises: who called then cuts the connection. Each is for one
    kind of transport, and writes nothing to another: what goes round a transport that encrypts would go out in
    clear."""

    def fits(self, transport: asyncio.Transport) -> bool:
        """Is this the kind of transport that it is for?"""

    def send(self, transport: asyncio.Transport, content: bytes) -> Coroutine[Any, Any, None]:
        """A reply that is in memory whole. Raises ClientGone, TransportUnfit."""

    def send_stream(
        self, transport: asyncio.Transport, head: bytes, stream: Stream, chunked: bool
    ) -> Coroutine[Any, Any, int]:
        """The head, then the stream; returns the bytes of the body. Raises ClientGone, TransportUnfit, or the Fault of
        the body, behind which nothing else may be written."""


class Senders:
    """A sender for as many kinds of transport as it is made of. The first is used for what fits none: it refuses."""

    def __init__(self, first: Sender, *others: Sender) -> None:
        self._first = first
        self._others = others

    def fits(self, transport: asyncio.Transport) -> bool:
        return self._for(transport).fits(transport)

    def send(self, transport: asyncio.Transport, content: bytes) -> Coroutine[Any, Any, None]:
        return self._for(transport).send(transport, content)

    def send_stream(
        self, transport: asyncio.Transport, head: bytes, stream: Stream, chunked: bool
    ) -> Coroutine[Any, Any, int]:
        return self._for(transport).send_stream(transport, head, stream, chunked)

    def _for(self, transport: asyncio.Transport) -> Sender:
        for sender in self._others:
            if sender.fits(transport):
                return sender
        return self._first
