"""What is done on a blocking connection before a body flows: TLS, if on one that is in TLS already, a tunnel through a
forward proxy."""

import socket
import ssl
from collections.abc import Mapping

from urllib3.util.ssltransport import SSLTransport

from proxy.core.authorities import format_authority
from proxy.upstream.http1 import AnswerMalformed, question, read_head
from proxy.upstream.message import USER_AGENT
from proxy.upstream.target import Origin

Stream = socket.socket | SSLTransport
"""A connection, plain or in TLS, or in TLS within the TLS of a proxy."""


def ask_for(sock: Stream, origin: Origin, headers: Mapping[str, str]) -> int:
    """Asks the proxy at the other end for a tunnel to an origin; the status of its answer (RFC 9110 section 9.3.6).
    Raises OSError, AnswerMalformed or ValueError."""
    authority = format_authority(origin.host, origin.port)
    sock.sendall(question("CONNECT", authority, {"Host": authority, "User-Agent": USER_AGENT, **headers}))
    head, behind = read_head(lambda room: int(sock.recv_into(room) or 0))
    if behind and head.status < 300:
        raise AnswerMalformed("it speaks in the tunnel before we do, which no server in TLS does")
    return head.status


def secured(sock: Stream, context: ssl.SSLContext, host: str) -> Stream:
    """The same connection in TLS, shaken hands on. Raises OSError, the connection then closed."""
    try:
        if isinstance(sock, ssl.SSLSocket):
            return SSLTransport(sock, context, host)
        assert isinstance(sock, socket.socket)
        return context.wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise


def pending(sock: Stream) -> int:
    """Bytes that have come and are not in the kernel any more."""
    if isinstance(sock, SSLTransport):
        return sock.sslobj.pending() + sock.incoming.pending + pending(sock.socket)
    return sock.pending() if isinstance(sock, ssl.SSLSocket) else 0
