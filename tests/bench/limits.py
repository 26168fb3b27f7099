"""What this machine can do at all, measured in the run whose figures it explains."""

import hashlib
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from tests.bench.measure import Spread

_SIZE = 256 << 20  # bytes
_TIMES = 3


class Limits(NamedTuple):
    """GB/s, the best of a few tries: whoever does more than one of these at once on few cores gets less."""

    copy: float  # from one place in memory to another
    sha256: float  # on one core
    sendfile: float  # from the page cache to a loopback connection that drops what it reads

    def sending(self) -> dict[str, Spread]:
        """GB/s of one connection, to stand beside what contestants send."""
        return {"this machine": Spread.of([self.sendfile])}

    def hashing(self, size: int) -> dict[str, Spread]:
        """Seconds that the proof of so many bytes takes, to stand beside what contestants need for all."""
        return {"sha256 alone": Spread.of([size / self.sha256 / 1e9])}

    def __str__(self) -> str:
        return (
            f"this machine copies {self.copy:.1f} GB/s in memory, hashes {self.sha256:.2f} GB/s with sha256 on one "
            f"core, and sends {self.sendfile:.1f} GB/s from the page cache over one loopback connection"
        )


def measure() -> Limits:
    content = os.urandom(1 << 20) * (_SIZE >> 20)
    room = memoryview(bytearray(_SIZE))
    room[:] = content  # its pages are there

    def copy() -> None:
        room[:] = content

    def digest() -> None:
        hashlib.sha256(content).digest()

    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return Limits(_best(copy), _best(digest), _best(lambda: _send(file.fileno())))


def _best(work: Callable[[], None]) -> float:
    seconds = []
    for _ in range(_TIMES):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return _SIZE / min(seconds) / 1e9


def _send(file: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as reader:
        writer, _ = server.accept()
        with writer:
            thread = threading.Thread(target=_drop, args=(reader,))
            thread.start()
            position = 0
            while position < _SIZE:
                position += os.sendfile(writer.fileno(), file, position, _SIZE - position)
        thread.join()


def _drop(reader: socket.socket) -> None:
    room = bytearray(4 << 20)
    while reader.recv_into(room, len(room), socket.MSG_TRUNC):
        pass
