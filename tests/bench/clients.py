"""Load that costs little, so that the server is what is measured.

Large bodies are discarded in the kernel (``MSG_TRUNC`` on TCP drops the bytes without a copy), after one pass that
compares the digest. Small requests come from ``wrk``.
"""

import hashlib
import mmap
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Self

_STEP = 4 * 1024 * 1024
SINK = mmap.mmap(-1, _STEP)  # room that the kernel checks but never writes to: its pages stay untouched
_TIMEOUT = 120  # seconds without a byte
ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*"


class WrongAnswer(Exception):
    """The server did not answer with what was asked for; no measurement of it means anything."""


class FullConnection:
    """One keep-alive connection to a loopback port."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        # A Python timeout would make the socket non-blocking, and MSG_WAITALL without effect.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _TIMEOUT, 0))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._port = port
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, path: str) -> tuple[int, int]:
        """(status, length of the body); the body comes next. Raises WrongAnswer."""
        self._socket.sendall(request(self._port, path))
        head = b""
        while b"\r\n\r\n" not in head:
            received = self._socket.recv(16 * 1024)
            if not received:
                raise WrongAnswer(f"{path}: closed within the header")
            head += received
        head, _, self._rest = head.partition(b"\r\n\r\n")
        length = re.search(rb"(?im)^content-length:[ \t]*(\d+)", head)
        if length is None:
            raise WrongAnswer(f"{path}: no Content-Length in {head!r}")
        return int(head.split(b" ", 2)[1]), int(length[1])

    def discard(self, size: int) -> None:
        """The body, dropped in the kernel. Raises WrongAnswer where it ends early."""
        left = size - len(self._rest)
        while left:
            dropped = self._socket.recv_into(SINK, min(left, _STEP), socket.MSG_TRUNC | socket.MSG_WAITALL)
            if not dropped:
                raise WrongAnswer(f"{left} of {size} bytes are missing")
            left -= dropped

    def sha256(self, size: int) -> str:
        """The digest of the body."""
        digest, left = hashlib.sha256(self._rest), size - len(self._rest)
        buffer = memoryview(bytearray(1024 * 1024))
        while left:
            received = self._socket.recv_into(buffer, min(left, len(buffer)))
            if not received:
                raise WrongAnswer(f"{left} of {size} bytes are missing")
            digest.update(buffer[:received])
            left -= received
        return f"sha256:{digest.hexdigest()}"


class Rate(NamedTuple):
    requests: int
    seconds: float


def request(port: int, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: {ACCEPT}\r\n\r\n".encode()


def status_of(port: int, path: str) -> int:
    """The status; 0 where nobody answers. An empty path asks only whether somebody listens: 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            if not path:
                return 200
            connection.sendall(request(port, path))
            words = connection.recv(4096).split(b" ", 2)
            return int(words[1]) if len(words) > 1 else 0
    except OSError:
        return 0


def check(port: int, path: str, digest: str) -> int:
    """One pull whose bytes are compared with the digest; the length. Raises WrongAnswer."""
    with FullConnection(port) as connection:
        status, length = connection.ask(path)
        found = connection.sha256(length)
    if status != 200 or found != digest:
        raise WrongAnswer(f"{path}: {status}, {found} for {digest}")
    return length


def pull(port: int, path: str, size: int, times: int = 1) -> None:
    """The body ``times`` over on one connection, discarded. Raises WrongAnswer."""
    with FullConnection(port) as connection:
        for _ in range(times):
            if (answer := connection.ask(path)) != (200, size):
                raise WrongAnswer(f"{path}: status and length {answer}, not {(200, size)}")
            connection.discard(size)


def timed(work: Callable[[], None]) -> float:
    """Seconds."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def pull_together(port: int, path: str, size: int, clients: int, times: int = 1) -> float:
    """Seconds from the common start until the last of ``clients`` has everything. Raises WrongAnswer."""
    return together([partial(pull, port, path, size, times)] * clients)


def together(pulls: Sequence[Callable[[], None]]) -> float:
    """Seconds from the common start of all until the last of them is over. Raises WrongAnswer."""
    failures: list[BaseException] = []
    start = threading.Barrier(len(pulls) + 1)

    def run(work: Callable[[], None]) -> None:
        start.wait()
        try:
            work()
        except (WrongAnswer, OSError) as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(each,)) for each in pulls]
    for thread in threads:
        thread.start()
    start.wait()
    begun = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    if failures:
        raise WrongAnswer(f"{len(failures)} of {len(pulls)} clients failed, one by: {failures[0]}")
    return seconds


def hammer(port: int, path: str, seconds: int, connections: int = 64, scheme: str = "http") -> Rate:
    """Small requests by ``wrk`` on keep-alive connections. Raises WrongAnswer for any status but 2xx and 3xx."""
    program = shutil.which("wrk") or "wrk"
    command = [program, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-H", f"Accept: {ACCEPT}"]
    done = subprocess.run([*command, f"{scheme}://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True)
    return rate_from(done.stdout)


def rate_from(output: str) -> Rate:
    """What ``wrk`` printed. Raises WrongAnswer where it met an error."""
    if failed := re.search(r"(Non-2xx or 3xx responses|Socket errors):.*", output):
        raise WrongAnswer(f"wrk: {failed[0]}")
    found = re.search(r"(\d+) requests in .*", output)
    rate = re.search(r"Requests/sec:\s*([\d.]+)", output)
    if found is None or rate is None or not float(rate[1]):
        raise WrongAnswer(f"wrk: {output!r}")
    return Rate(int(found[1]), int(found[1]) / float(rate[1]))


def latencies(port: int, path: str, count: int, pause: float) -> list[float]:
    """Seconds of ``count`` small pulls one after the other, ``pause`` seconds apart, on one connection."""
    taken = []
    with FullConnection(port) as connection:
        for _ in range(count):
            begun = time.perf_counter()
            status, length = connection.ask(path)
            connection.discard(length)
            taken.append(time.perf_counter() - begun)
            if status != 200:
                raise WrongAnswer(f"{path}: status {status}")
            time.sleep(pause)
    return taken
