"""A connection that speaks TLS, between the transport of its socket and the protocol of its requests.

To what is above it is a transport, to what is beneath it a protocol. What is small is sealed and opened in the loop. A
sender borrows the session for a stream; until it is given back, what the client sends is kept as it came.
"""

import asyncio
import ssl
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Protocol

from proxy.core.access import Caller
from proxy.front.tls_session import TlsSession

_WITHHELD = 64 << 10  # bytes from the client, while a sender has the session; behind them the socket is not read


class Above(Protocol):
    """The protocol of a client's requests. ``retire`` ends its connection behind the reply under way."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As of ``asyncio.Protocol``, as are the others."""

    def connection_lost(self, exc: Exception | None) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def retire(self) -> None:
        """Ends the connection behind the reply under way."""


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """``raw`` is the transport beneath, ``above`` the protocol that is served."""

    __slots__ = ("_above", "_borrowed", "_closing", "_ended", "_known", "_raw", "_session", "_withheld")

    def __init__(
        self,
        raw: asyncio.Transport,
        session: TlsSession,
        above: Above,
        known: "MutableMapping[TlsTransport, Caller]",
    ) -> None:
        """The handshake is done. It is in ``known`` until it is lost."""
        self._known = known
        self._raw = raw
        self._session = session
        self._above = above
        self._borrowed = False
        self._withheld = b""
        self._ended = False  # our last word is out
        self._closing = False

    def begin(self) -> None:
        """Also with what came in the handshake's company."""
        self._above.connection_made(self)
        self.data_received(b"")

    def retire(self) -> None:
        """Ends it behind the reply under way."""
        self._above.retire()

    # ------------------------------------------------------------ to what is beneath

    def data_received(self, data: bytes) -> None:
        """Records, or parts of them."""
        if self._borrowed:
            self._withheld += data
            if len(self._withheld) > _WITHHELD:
                self._raw.pause_reading()
            return
        if self._ended:
            return
        session = self._session
        try:
            plain = session.opened(data)
        except ssl.SSLError:
            self._raw.write(session.unsaid)
            self._raw.close()
            return
        if unsaid := session.unsaid:
            self._raw.write(unsaid)
        if plain:
            self._above.data_received(plain)
        if session.over:
            self._above.retire()

    def connection_lost(self, exc: Exception | None) -> None:
        """However it ended."""
        self._known.pop(self, None)
        self._above.connection_lost(exc)

    def pause_writing(self) -> None:
        self._above.pause_writing()

    def resume_writing(self) -> None:
        self._above.resume_writing()

    # ------------------------------------------------------------ to what is above

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """In the loop: for what is small."""
        if self._borrowed:
            raise RuntimeError("the session is with a sender")
        if self._ended or self._raw.is_closing():
            return
        try:
            self._raw.write(self._session.sealed(data))
        except ssl.SSLError:
            self.abort()

    def can_write_eof(self) -> bool:
        return self._raw.can_write_eof()

    def write_eof(self) -> None:
        """Our last word, by TLS and by TCP."""
        self._end()
        self._raw.write_eof()

    def close(self) -> None:
        """With our last word, unless a stream is under way."""
        if self._closing:
            return
        self._closing = True
        self._end()
        self._raw.close()

    def abort(self) -> None:
        """Without a last word, so that the client knows it for a break."""
        self._closing = True
        self._raw.abort()

    def is_closing(self) -> bool:
        return self._closing or self._raw.is_closing()

    def is_reading(self) -> bool:
        return self._raw.is_reading()

    def pause_reading(self) -> None:
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        self._raw.resume_reading()

    def get_write_buffer_size(self) -> int:
        return self._raw.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._session if name == "ssl_object" else self._raw.get_extra_info(name, default)

    @contextmanager
    def borrowed(self) -> Iterator[TlsSession]:
        """The session, for one who writes to a duplicate of the socket. Whatever fails meanwhile breaks the
        connection."""
        self._borrowed = True
        try:
            yield self._session
        except BaseException:
            self.abort()
            raise
        finally:
            self._borrowed = False
        withheld, self._withheld = self._withheld, b""
        if withheld and not self._raw.is_closing():
            if not self._raw.is_reading():
                self._raw.resume_reading()
            self.data_received(withheld)

    def _end(self) -> None:
        if self._ended or self._borrowed or self._raw.is_closing():
            return
        self._ended = True
        self._raw.write(self._session.ended())
