"""TLS in front of requests: by which terms, who is let in, and how each connection begins.

The handshake's signatures are computed in threads, so that a storm of new connections takes no time from those that are
there. A connection is its client's from then on: whom its certificate names is whom its requests come from.
"""

import asyncio
import logging
import ssl
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, cast

from proxy.core.access import ANONYMOUS, Caller
from proxy.core.certificates import CertificateNames, caller_named
from proxy.core.errors import RequestMalformed
from proxy.core.seldom import Seldom
from proxy.front import replies
from proxy.front.access_log import new_request_id
from proxy.front.connection import Front
from proxy.front.tls_session import Handshake, TlsSession
from proxy.front.tls_transport import Above, TlsTransport
from proxy.tasks.off_loop import off_loop

log = logging.getLogger("entrepot.front")

_HANDSHAKE_RECORD = 0x16  # RFC 8446 section 5.1
_SWEEP_EVERY = 1.0  # seconds


class TlsTerms(NamedTuple):
    """``context`` has our certificate, and whose certificates it takes from clients; ``authorities`` are those, to be
    compared."""

    context: ssl.SSLContext
    names: CertificateNames = CertificateNames()
    authorities: bytes = b""


class Tls:
    """What TLS connections share. ``renew`` changes the terms for all handshakes that begin from then on."""

    def __init__(self, front: Front, threads: ThreadPoolExecutor, terms: TlsTerms) -> None:
        self.front = front
        self.threads = threads
        self.terms = terms
        self.handshakes: Counter[str] = Counter(full=0, resumed=0, failed=0)
        self.connections: dict[TlsTransport, Caller] = {}
        self.protocol = partial(TlsEntrance, self)
        self._seldom = Seldom()

    def renew(self, terms: TlsTerms) -> None:
        """Where others are believed now, or are named otherwise, those who were let in come again: a connection ends
        behind its reply. A new certificate of ours ends none."""
        before, self.terms = self.terms, terms
        if (before.authorities, before.names) != (terms.authorities, terms.names):
            for connection in list(self.connections):
                connection.retire()

    def sweep(self, now: float) -> None:
        """Ends the connections of those whose certificate is over."""
        for connection, caller in list(self.connections.items()):
            if caller.until < now:
                connection.retire()

    async def keep(self) -> None:
        """What must be done each second, until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_EVERY)
            self.sweep(self.front.now())

    def failed(self, address: str, why: str) -> None:
        """Counted always, told once a minute for each reason."""
        self.handshakes["failed"] += 1
        if self._seldom.due(why, self.front.now()):
            log.info("no TLS with %s: %s", address, why)


class TlsEntrance(asyncio.Protocol):
    """Stands in a connection's place until its handshake is done. It has a place of its own until then."""

    __slots__ = ("_address", "_received", "_session", "_since", "_stepping", "_terms", "_tls", "_transport")

    _transport: asyncio.Transport

    def __init__(self, tls: Tls, address: str = "") -> None:
        """``address`` is the client's, where another stands between it and us."""
        self._tls = tls
        self._address = address
        self._received = b""
        self._stepping = False
        self._session: TlsSession | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Where there is a place."""
        self._transport = transport = cast(asyncio.Transport, transport)
        front, peer = self._tls.front, transport.get_extra_info("peername")
        if not self._address:
            self._address = peer[0] if isinstance(peer, tuple) else ""
        if front.enter(self, self._address):
            self._since = front.now()
        else:
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Of the handshake, or what is none."""
        self._received += data
        if self._session is None:
            if self._received[0] != _HANDSHAKE_RECORD:
                self._answer_plainly()
                return
            self._terms = self._tls.terms
            self._session = TlsSession(self._terms.context)
        if not self._stepping:
            self._stepping = True
            self._transport.pause_reading()
            self._tls.front.tasks.create_task(self._step(self._session))

    def connection_lost(self, exc: Exception | None) -> None:
        self._tls.front.leave(self, self._address)

    def look(self, now: float) -> None:
        """Ends it where the client takes too long."""
        if self._since + self._tls.front.rules.header_timeout < now:
            self._tls.failed(self._address, "the handshake took too long")
            self._transport.abort()

    def rest(self) -> None:
        """Ends it: nothing is under way."""
        self._transport.close()

    def abort(self) -> None:
        """Ends it as it is."""
        self._transport.abort()

    async def _step(self, session: TlsSession) -> None:
        """With all that has come."""
        try:
            while self._received:
                received, self._received = self._received, b""
                step = await off_loop(self._tls.threads, partial(session.handshake, received))
                if self._transport.is_closing():
                    return
                self._transport.write(step.output)
                if step.done or step.fault:
                    self._ended(step, session)
                    return
        except Exception:
            log.exception("a handshake broke off")
            self._transport.abort()
            return
        except asyncio.CancelledError:
            self._transport.abort()
            raise
        self._stepping = False
        self._transport.resume_reading()

    def _ended(self, step: Handshake, session: TlsSession) -> None:
        tls, fault = self._tls, step.fault
        caller = ANONYMOUS
        if not fault and (certificate := session.certificate) is not None:
            until = ssl.cert_time_to_seconds(certificate["notAfter"])
            caller = caller_named(certificate["subject"], until, self._terms.names)
            if until < tls.front.now():
                fault = "the client's certificate has expired since its session began"
        if fault:
            tls.failed(self._address, fault)
            self._transport.close()
            return
        tls.handshakes["resumed" if session.resumed else "full"] += 1
        self._hand_over(session, caller)

    def _hand_over(self, session: TlsSession, caller: Caller) -> None:
        tls, front = self._tls, self._tls.front
        front.leave(self, self._address)
        above = cast(Above, front.protocol(self._address, caller))
        connection = TlsTransport(self._transport, session, above, tls.connections)
        tls.connections[connection] = caller
        self._transport.set_protocol(connection)
        self._transport.resume_reading()
        connection.begin()

    def _answer_plainly(self) -> None:
        """To what is no TLS, as to any other request that is none."""
        front, request = self._tls.front, new_request_id()
        self._tls.failed(self._address, "it speaks plain HTTP, or no TLS at all")
        fault = RequestMalformed("here TLS is spoken: write https:// before the address")
        self._transport.write(replies.last_word(fault, front.date.line, request))
        self._transport.close()
