"""Tunnels on blocking sockets: CONNECT at a forward proxy, and TLS on a connection, if that is in TLS already."""

import http.client
import socket
import ssl
from collections.abc import Mapping

from urllib3.util.ssltransport import SSLTransport

from proxy.core.authorities import format_authority
from proxy.upstream.message import USER_AGENT
from proxy.upstream.target import Origin

Stream = socket.socket | SSLTransport
"""A connection, plain or in TLS, or in TLS within the TLS of a proxy."""


def ask_for(sock: Stream, origin: Origin, headers: Mapping[str, str]) -> int:
    """Asks the proxy at the other end for a tunnel to an origin; the status of its answer (RFC 9110 section 9.3.6).
    Raises OSError or http.client.HTTPException. Nothing follows a good answer before we speak, as TLS has it."""
    authority = format_authority(origin.host, origin.port)
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}", f"User-Agent: {USER_AGENT}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    response = http.client.HTTPResponse(sock, method="CONNECT")  # type: ignore[arg-type]
    try:
        response.begin()
    finally:
        response.close()
    return response.status


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
