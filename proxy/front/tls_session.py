"""One TLS session in memory: bytes in, bytes out, and no socket.

An SSL object has one user at a time: the event loop, or the thread of a sender that borrowed it. Nothing here waits.
"""

import ssl
from contextlib import suppress
from typing import Any, NamedTuple

_READ = 64 << 10  # bytes; above the largest record, so that none is read in two pieces


class Handshake(NamedTuple):
    """What came of a step. ``fault`` is why there will be no session; ``output`` then says so to the client."""

    output: bytes
    done: bool
    fault: str = ""


class TlsSession:
    """The server's side of one, by the terms of ``context``."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.over = False  # the client has said that nothing more comes

    def handshake(self, received: bytes) -> Handshake:
        """The next step. Computes signatures: for a thread."""
        self._incoming.write(received)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return Handshake(self._outgoing.read(), False)
        except (ssl.SSLError, OSError, ValueError) as fault:
            return Handshake(self._outgoing.read(), False, _words(fault))
        return Handshake(self._outgoing.read(), True)

    def opened(self, received: bytes) -> bytes:
        """What the client says by this and what came before, as far as it is whole. Raises ssl.SSLError where it is
        no TLS."""
        incoming, read = self._incoming, self._object.read
        incoming.write(received)
        plain = b""
        try:
            plain = read(_READ)
            while incoming.pending:
                more = read(_READ)
                if not more:
                    self.over = True
                    break
                plain += more
        except ssl.SSLWantReadError:
            return plain
        if not plain:
            self.over = True
        return plain

    def sealed(self, content: bytes | bytearray | memoryview) -> bytes:
        """As it goes over the line, behind all that was to be said before. Raises ssl.SSLError."""
        self._object.write(content)
        return self._outgoing.read()

    @property
    def unsaid(self) -> bytes:
        """What the protocol itself has to answer."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def ended(self) -> bytes:
        """The word that nothing more comes (close_notify), without which an end is a break."""
        with suppress(ssl.SSLError, OSError, ValueError):  # the client's own word is not waited for
            self._object.unwrap()
        return self._outgoing.read()

    @property
    def resumed(self) -> bool:
        return self._object.session_reused is True

    @property
    def certificate(self) -> dict[str, Any] | None:
        """The client's, verified; None where it has shown none."""
        return self._object.getpeercert() or None


def _words(fault: Exception) -> str:
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"the client's certificate is refused: {fault.verify_message}"
    reason = getattr(fault, "reason", None)
    return str(reason).lower().replace("_", " ") if reason else str(fault)
