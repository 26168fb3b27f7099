"""Load over TLS that costs little: a handshake and a request by ``ssl``, then the records of the reply are dropped in
the kernel as they came, and nobody decrypts them."""

import hashlib
import http.client
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.clients import ACCEPT, SINK, WrongAnswer, request, together

_STEP = 4 * 1024 * 1024
_TIMEOUT = 120  # seconds without a byte
_OVERHEAD = 4096  # bytes that a head and its records take at most


def trusting(ca_file: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca_file))


def check(port: int, tls: ssl.SSLContext, path: str, digest: str) -> int:
    """One pull whose bytes are decrypted and compared with the digest; the length. Raises WrongAnswer."""
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=tls, timeout=_TIMEOUT)
    try:
        connection.request("GET", path, headers={"Accept": ACCEPT})
        with connection.getresponse() as reply:
            found, length = hashlib.sha256(), 0
            while piece := reply.read(1 << 20):
                found.update(piece)
                length += len(piece)
    finally:
        connection.close()
    if reply.status != 200 or f"sha256:{found.hexdigest()}" != digest:
        raise WrongAnswer(f"{path}: {reply.status}, {found.hexdigest()} for {digest}")
    return length


def pull(port: int, tls: ssl.SSLContext, path: str, size: int, stop: threading.Event | None = None) -> None:
    """One body on a connection of its own. Raises WrongAnswer where it ends early."""
    asked = request(port, path).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with tls.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1") as secure:
        secure.sendall(asked)
        raw = socket.socket(fileno=secure.detach())
    with raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _TIMEOUT, 0))
        came = 0
        while stop is None or not stop.is_set():
            dropped = raw.recv_into(SINK, _STEP, socket.MSG_TRUNC)
            if not dropped:
                break
            came += dropped
    if (stop is None or not stop.is_set()) and not size < came < size + size // 100 + _OVERHEAD:
        raise WrongAnswer(f"{path}: {came} bytes of records for {size}")


def pull_together(port: int, tls: ssl.SSLContext, path: str, size: int, clients: int, times: int) -> float:
    """Seconds until the last of ``clients`` has everything. Raises WrongAnswer."""

    def pulls() -> None:
        for _ in range(times):
            pull(port, tls, path, size)

    return together([pulls] * clients)


@contextmanager
def bulk_readers(port: int, tls: ssl.SSLContext, path: str, size: int, clients: int) -> Iterator[None]:
    """So many that pull without end. Raises WrongAnswer where one failed."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            while not stop.is_set():
                pull(port, tls, path, size, stop)
        except (WrongAnswer, OSError) as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if failures:
        raise WrongAnswer(f"{len(failures)} of {clients} readers failed, one by: {failures[0]}")


def latencies(port: int, tls: ssl.SSLContext, path: str, count: int, pause: float) -> list[float]:
    """Seconds of ``count`` small pulls one after the other, ``pause`` seconds apart, on one connection."""
    taken = []
    plain = socket.create_connection(("127.0.0.1", port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with tls.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
        for _ in range(count):
            begun = time.perf_counter()
            secure.sendall(request(port, path))
            reply = secure.recv(64 << 10)
            head, _, body = reply.partition(b"\r\n\r\n")
            length = re.search(rb"(?im)^content-length:[ \t]*(\d+)", head)
            if not head.startswith(b"HTTP/1.1 200") or length is None:
                raise WrongAnswer(f"{path}: {head!r}")
            while len(body) < int(length[1]):
                body += secure.recv(64 << 10)
            taken.append(time.perf_counter() - begun)
            time.sleep(pause)
    return taken
