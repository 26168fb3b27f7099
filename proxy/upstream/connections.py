"""Blocking HTTP/1.1 connections, kept for reuse. Their calls belong to worker threads; those that close idle ones do
not block.

``http1`` knows the protocol; here are the address policy at connect, the way, bodies straight from the socket into the
caller's buffer (RFC 9112 section 6.3), and the pool of idle connections.
"""

import select
import socket
import ssl
import struct
import threading
import time
from collections import deque
from typing import Protocol

from proxy.upstream.address import Admit
from proxy.upstream.egress import Proxy, ProxyFailed, proof, refused_by
from proxy.upstream.http1 import AnswerHead, AnswerMalformed, ChunkDecoder, Framing, question, read_head
from proxy.upstream.message import Request
from proxy.upstream.passage import Passage
from proxy.upstream.target import Origin
from proxy.upstream.tunnel import Stream, ask_for, pending, secured

MOST_IDLE = 32
ADDRESS_TRIES = 2  # connect timeouts that all addresses of a name may take together
_PAUSE = struct.pack("ll", 0, 20_000)  # seconds and microseconds


class UpstreamConnection:
    """One socket to ``origin`` itself or through ``proxy``, and what was read from it too far. ``interrupt`` may come
    from any thread, everything else from one at a time."""

    def __init__(self, origin: Origin, sock: Stream, proxy: Proxy | None = None) -> None:
        self.way = origin, proxy
        self.gathers = type(sock) is socket.socket  # whether ``gather`` is to be had: the kernel knows no TLS
        self.ahead = b""  # came with the head, and belongs to the body
        self._sock = sock
        self._bare = sock if isinstance(sock, socket.socket) else sock.socket  # within the TLS of a proxy, that one's
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def ask(self, request: Request, first_byte: float, stall: float) -> AnswerHead:
        """Waits up to ``first_byte`` seconds for each piece of the head; each later read of the body up to ``stall``.
        Raises OSError, AnswerMalformed, or ValueError for a request that cannot be made."""
        self._sock.settimeout(first_byte)
        origin, proxy = self.way
        path, fields = request.target.path, {"Host": origin.authority, **request.headers}
        forwarding = proxy if origin.scheme == "http" else None  # in the open, with no tunnel
        if forwarding is not None:
            path = f"{origin}{path}"  # RFC 9112 section 3.2.2
            fields |= proof(forwarding)
        self._sock.sendall(question(request.method, path, fields, request.body))
        head, self.ahead = read_head(self.receive)
        if forwarding is not None and head.status == 407:
            raise refused_by(forwarding, head.status)
        self._sock.settimeout(stall)
        return head

    def receive(self, buffer: memoryview) -> int:
        """Waits for at least one byte; 0 at the end. Raises OSError."""
        if not self.ahead:
            return int(self._sock.recv_into(buffer) or 0)
        count = min(len(buffer), len(self.ahead))
        buffer[:count], self.ahead = self.ahead[:count], self.ahead[count:]
        return count

    def gather(self, buffer: memoryview, timeout: float) -> int:
        """Fills the buffer in one call of the kernel, or as much of it as comes without a longer pause; 0 at the end.
        Many small reads would each take the interpreter lock twice. Raises TimeoutError after ``timeout`` seconds
        without a byte."""
        if self._bare.gettimeout() is not None:
            self._bare.settimeout(None)
            self._bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PAUSE)
        while True:
            try:
                return self._bare.recv_into(buffer, 0, socket.MSG_WAITALL)
            except BlockingIOError:
                if not self._poll.poll(timeout * 1000):
                    raise TimeoutError from None

    def readable(self) -> bool:
        """Something has come, if only the end: on an idle connection that makes it useless."""
        return bool(self.ahead or pending(self._sock) or self._poll.poll(0))

    def interrupt(self) -> None:
        """Not ``SSLSocket.shutdown``, which would turn later reads into reads of ciphertext."""
        try:
            socket.socket.shutdown(self._bare, socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        self._sock.close()


class ShortBody(OSError):
    """The body ended before its end."""


class AnswerBody(Protocol):
    """Belongs to one thread at a time."""

    finished: bool  # read to its end, so that the connection may be used again

    def readinto(self, buffer: memoryview) -> int:
        """Waits for at least one byte; 0 at the end. Raises ShortBody, another OSError or AnswerMalformed."""


class LengthBody:
    """Of a promised length, straight from the socket into the buffer but for what came with the head."""

    def __init__(self, connection: UpstreamConnection, length: int, stall: float) -> None:
        self._connection = connection
        self._left = length
        self._stall = stall  # seconds
        self.finished = length == 0

    def readinto(self, buffer: memoryview) -> int:
        room = buffer[: self._left]
        if not room:
            return 0
        if self._connection.ahead or not self._connection.gathers:
            count = self._read(room)
        else:
            count = self._connection.gather(room, self._stall)
        if count == 0:
            raise ShortBody(f"it ended {self._left} bytes early")
        self._left -= count
        self.finished = self._left == 0
        return count

    def _read(self, room: memoryview) -> int:
        """What has come, with TLS in steps of 16 KiB at most."""
        filled = 0
        while filled < len(room):
            try:
                count = self._connection.receive(room[filled:])
            except OSError:
                if filled == 0:
                    raise
                break  # what has come is delivered first; the next read meets the fault again
            filled += count
            if count == 0 or self._connection.gathers or not self._connection.readable():
                break
        return filled


class ChunkedBody:
    """In chunks; their end is the body's."""

    def __init__(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        self._decoder = ChunkDecoder()
        self.finished = False

    def readinto(self, buffer: memoryview) -> int:
        count = 0
        while count == 0 and not self._decoder.finished:
            came = self._connection.receive(buffer)
            if came == 0:
                raise ShortBody("it ended within its chunks")
            count = self._decoder.decode(buffer[:came])
        self.finished = self._decoder.finished and not self._decoder.surplus
        return count


class OpenEndedBody:
    """Ends with the connection: whether it is whole only its digest tells."""

    def __init__(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        self.finished = False

    def readinto(self, buffer: memoryview) -> int:
        return self._connection.receive(buffer)


def body_of(connection: UpstreamConnection, framed: Framing, stall: float) -> AnswerBody:
    """``stall`` is in seconds."""
    if framed.chunked:
        return ChunkedBody(connection)
    if framed.length is None:
        return OpenEndedBody(connection)
    return LengthBody(connection, framed.length, stall)


class ConnectionPool:
    """The idle connections to one kind of host of one upstream."""

    def __init__(self, passage: Passage, connect_timeout: float, idle: float) -> None:
        self._passage = passage
        self._connect_timeout = connect_timeout  # seconds
        self._keep = idle  # seconds
        self._lock = threading.Lock()
        self._idle: deque[tuple[float, UpstreamConnection]] = deque()
        self._closed = False

    def idle(self, origin: Origin, proxy: Proxy | None) -> UpstreamConnection | None:
        """The most recently used one that is still good, of the same way."""
        wanted = origin, proxy
        while True:
            stale, now = [], time.monotonic()
            with self._lock:
                while self._idle and now - self._idle[0][0] > self._keep:
                    stale.append(self._idle.popleft()[1])
                found = next((entry for entry in reversed(self._idle) if entry[1].way == wanted), None)
                if found is not None:
                    self._idle.remove(found)
            for connection in stale:
                connection.close()
            if found is None or not found[1].readable():
                return found[1] if found else None
            found[1].close()

    def fresh(self, origin: Origin, proxy: Proxy | None) -> UpstreamConnection:
        """Raises OSError; AddressForbidden where every address of the host is against the policy, ProxyFailed where
        the proxy is to blame."""
        if proxy is not None:
            return self._through(origin, proxy)
        sock: Stream = self._connect(origin, self._passage.admit)
        if origin.scheme == "https":
            sock = secured(sock, self._passage.trust, origin.host)
        return UpstreamConnection(origin, sock)

    def _through(self, origin: Origin, proxy: Proxy) -> UpstreamConnection:
        sock = self._to_proxy(proxy)
        if origin.scheme == "https":
            try:
                status = ask_for(sock, origin, proof(proxy))
            except (OSError, AnswerMalformed, ValueError) as cause:
                sock.close()
                raise ProxyFailed(f"{proxy} gave no answer ({type(cause).__name__})") from cause
            if not 200 <= status < 300:
                sock.close()
                raise refused_by(proxy, status)
            sock = secured(sock, self._passage.proxied_trust, origin.host)
        return UpstreamConnection(origin, sock, proxy)

    def _to_proxy(self, proxy: Proxy) -> Stream:
        try:
            sock: Stream = self._connect(proxy.origin, self._passage.admit_proxy)
            if proxy.origin.scheme == "https":
                sock = secured(sock, self._passage.proxy_trust, proxy.origin.host)
        except ssl.SSLCertVerificationError as cause:
            raise ProxyFailed(f"the certificate of {proxy} is not valid: {cause.verify_message}") from cause
        except TimeoutError as cause:
            raise ProxyFailed(f"no connection to {proxy} in time") from cause
        except (OSError, ValueError) as cause:
            raise ProxyFailed(f"no connection to {proxy}: {getattr(cause, 'strerror', None) or cause}") from cause
        return sock

    def give_back(self, connection: UpstreamConnection) -> None:
        """Only where the last answer was read to its end and the other side keeps the connection."""
        surplus: UpstreamConnection | None = connection
        with self._lock:
            if not self._closed:
                self._idle.append((time.monotonic(), connection))
                surplus = self._idle.popleft()[1] if len(self._idle) > MOST_IDLE else None
        if surplus is not None:
            surplus.close()

    def close_all(self) -> None:
        """Of idle ones, and of every one that is given back from now on."""
        self._closed = True
        self.close_idle()

    def close_idle(self) -> None:
        """Those under way are kept for reuse all the same."""
        with self._lock:
            idle = [connection for _, connection in self._idle]
            self._idle.clear()
        for connection in idle:
            connection.close()

    def _connect(self, origin: Origin, admit: Admit) -> socket.socket:
        """Resolves once and connects to what was checked, so that no name can change in between. How long a name takes
        to resolve is not in our hands, and not on the account of its addresses."""
        places = socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        fault: OSError = OSError("the name has no address")
        deadline = time.monotonic() + ADDRESS_TRIES * self._connect_timeout
        for family, kind, protocol, _, address in places:
            try:
                admit(str(address[0]), origin.port)
                if (left := deadline - time.monotonic()) <= 0:
                    break
                sock = socket.socket(family, kind, protocol)
                try:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    sock.settimeout(min(left, self._connect_timeout))
                    sock.connect(address)
                except BaseException:
                    sock.close()
                    raise
                return sock
            except OSError as refused:
                fault = refused
        raise fault
