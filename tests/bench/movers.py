"""Ways to move one body from a socket into a file with its digest: ``python -m tests.bench.movers [--tls]``.

Each way takes the same body from the same sender on loopback, in alternated rounds; what counts is its time and the
CPU of this process. ``movers.md`` holds what came out and what was chosen.
"""

import argparse
import asyncio
import hashlib
import multiprocessing
import os
import queue
import select
import socket
import ssl
import statistics
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, cast

import aiohttp
import uvloop

from tests.bench.contents import MIB
from tests.bench.measure import CoreTime, warm_memory
from tests.cast.authority import Authority

KIB = 1024
SIZE = 256 * MIB
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % SIZE


class Place(NamedTuple):
    """Where the body comes from, and where it goes."""

    port: int
    file: int  # descriptor
    trust: ssl.SSLContext | None


class Sink:
    """Writes and hashes in order."""

    def __init__(self, place: Place) -> None:
        self._file = place.file
        self.hash = hashlib.sha256()
        self.count = 0

    def take(self, chunk: memoryview | bytes) -> None:
        os.pwrite(self._file, chunk, self.count)
        self.hash.update(chunk)
        self.count += len(chunk)


Mover = Callable[[Place], Sink]

# ---------------------------------------------------------------- a blocking thread


def opened(place: Place) -> socket.socket:
    """Behind the head."""
    sock = socket.create_connection(("127.0.0.1", place.port), timeout=30)
    if place.trust is not None:
        sock = place.trust.wrap_socket(sock, server_hostname="localhost")
    sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    return sock


def what_has_come(sock: socket.socket, buffer: memoryview) -> int:
    """Reads while there is something: a poll between any two, and in Python's own timeout another."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    filled = 0
    while filled < len(buffer):
        count = sock.recv_into(buffer[filled:])
        filled += count
        if not count or not ((isinstance(sock, ssl.SSLSocket) and sock.pending()) or poll.poll(0)):
            break
    return filled


def reads(size: int) -> Mover:
    def move(place: Place) -> Sink:
        sink, buffer = Sink(place), memoryview(bytearray(size))
        with opened(place) as sock:
            while sink.count < SIZE:
                sink.take(buffer[: what_has_come(sock, buffer)])
        return sink

    return move


def gathers(size: int, receive_buffer: int = 0) -> Mover:
    """One call of the kernel for a whole buffer, or for what comes within 20 ms."""

    def move(place: Place) -> Sink:
        sink, buffer = Sink(place), memoryview(bytearray(size))
        with opened(place) as sock:
            if receive_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            sock.settimeout(None)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 20_000))
            while sink.count < SIZE:
                sink.take(buffer[: sock.recv_into(buffer, min(size, SIZE - sink.count), socket.MSG_WAITALL)])
        return sink

    return move


def hands_over(size: int) -> Mover:
    """A second thread hashes a buffer while the first receives and writes the next."""

    def move(place: Place) -> Sink:
        sink = Sink(place)
        free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        full: queue.SimpleQueue[tuple[memoryview, int] | None] = queue.SimpleQueue()
        for _ in range(2):
            free.put(memoryview(bytearray(size)))

        def hash_behind() -> None:
            while (handed := full.get()) is not None:
                buffer, count = handed
                sink.hash.update(buffer[:count])
                free.put(buffer)

        hashing = threading.Thread(target=hash_behind)
        hashing.start()
        with opened(place) as sock:
            while sink.count < SIZE:
                buffer = free.get()
                count = what_has_come(sock, buffer)
                os.pwrite(place.file, buffer[:count], sink.count)
                sink.count += count
                full.put((buffer, count))
        full.put(None)
        hashing.join()
        return sink

    return move


def memory_bio(place: Place) -> Sink:
    """Ciphertext in large reads, decrypted from memory."""
    assert place.trust is not None
    sink, cipher = Sink(place), memoryview(bytearray(256 * KIB))
    buffer = memoryview(bytearray(MIB))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = place.trust.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", place.port), timeout=30) as sock:

        def exchange() -> None:
            if outgoing.pending:
                sock.sendall(outgoing.read())
            incoming.write(cipher[: sock.recv_into(cipher)])

        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                exchange()
        tls.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head, filled = b"", 0
        while sink.count < SIZE:
            try:
                if not head.endswith(b"\r\n\r\n"):
                    head += tls.read(1)
                    continue
                filled += cast(int, tls.read(len(buffer) - filled, buffer[filled:]))  # with a buffer it counts
            except ssl.SSLWantReadError:
                exchange()
            if filled == len(buffer) or sink.count + filled == SIZE:
                sink.take(buffer[:filled])
                filled = 0
    return sink


# ---------------------------------------------------------------- the loop


def on_loop(move: Callable[[Place], Coroutine[Any, Any, Sink]]) -> Mover:
    def run(place: Place) -> Sink:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(move(place))

    return run


async def with_aiohttp(place: Place) -> Sink:
    sink = Sink(place)
    scheme = "http" if place.trust is None else "https"
    async with aiohttp.ClientSession(read_bufsize=4 * MIB) as session:
        url = f"{scheme}://localhost:{place.port}/"
        async with session.get(url, ssl=place.trust or False, server_hostname="localhost") as answer:
            async for chunk in answer.content.iter_any():
                sink.take(chunk)
    return sink


class _Receiver(asyncio.BufferedProtocol):
    def __init__(self, sink: Sink, done: "asyncio.Future[None]") -> None:
        self._sink = sink
        self._done = done
        self._buffer = memoryview(bytearray(MIB))
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        chunk = self._buffer[:nbytes]
        if b"\r\n\r\n" not in self._head:
            head, end, body = bytes(chunk).partition(b"\r\n\r\n")
            self._head += head + end
            chunk = memoryview(body)
        self._sink.take(chunk)

    def connection_lost(self, exc: Exception | None) -> None:
        self._done.set_result(None)


async def with_protocol(place: Place) -> Sink:
    loop, sink = asyncio.get_running_loop(), Sink(place)
    done: asyncio.Future[None] = loop.create_future()
    await loop.create_connection(
        lambda: _Receiver(sink, done), "127.0.0.1", place.port, ssl=place.trust,
        server_hostname="localhost" if place.trust else None,
    )  # fmt: skip
    await done
    return sink


# ---------------------------------------------------------------- the comparison

PLAIN: Mapping[str, Mover] = {
    "thread, reads and polls, 256 KiB": reads(256 * KIB),
    "thread, reads and polls, 1 MiB": reads(MIB),
    "thread, gathers, 256 KiB": gathers(256 * KIB),
    "thread, gathers, 1 MiB": gathers(MIB),
    "thread, gathers, 4 MiB": gathers(4 * MIB),
    "thread, gathers, 1 MiB, SO_RCVBUF 4 MiB": gathers(MIB, 4 * MIB),
    "two threads, hash behind, 1 MiB": hands_over(MIB),
    "aiohttp, buffer 4 MiB": on_loop(with_aiohttp),
    "BufferedProtocol on uvloop, 1 MiB": on_loop(with_protocol),
}
TLS: Mapping[str, Mover] = {
    "thread, reads and polls, 256 KiB": reads(256 * KIB),
    "thread, reads and polls, 1 MiB": reads(MIB),
    "thread, MemoryBIO, 256 KiB of ciphertext": memory_bio,
    "two threads, hash behind, 1 MiB": hands_over(MIB),
    "aiohttp, buffer 4 MiB": on_loop(with_aiohttp),
    "BufferedProtocol on uvloop, 1 MiB": on_loop(with_protocol),
}


def send(path: Path, tls: tuple[Path, Path] | None, told: Connection) -> None:
    """In a process of its own: the same file to whoever connects, one after the other."""
    context = None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
    with socket.create_server(("127.0.0.1", 0)) as server, path.open("rb") as file:
        told.send(server.getsockname()[1])
        while True:
            connection, _ = server.accept()
            with context.wrap_socket(connection, server_side=True) if context else connection as client:
                client.recv(4096)
                client.sendall(HEAD)
                file.seek(0)
                if context is None:
                    client.sendfile(file)
                else:
                    while chunk := file.read(MIB):
                        client.sendall(chunk)


def compare(movers: Mapping[str, Mover], rounds: int, tls: bool) -> Mapping[str, list[tuple[float, float]]]:
    """name → (seconds, CPU seconds) of each round. Raises RuntimeError for wrong bytes."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in movers}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content, target = folder / "content", folder / "target"
        content.write_bytes(os.urandom(MIB) * (SIZE // MIB))
        with content.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        authority = Authority(folder)
        asked, told = multiprocessing.Pipe(duplex=False)
        sender = multiprocessing.Process(
            target=send, args=(content, authority.files() if tls else None, told), daemon=True
        )
        sender.start()
        try:
            port = asked.recv()
            trust = ssl.create_default_context(cafile=str(authority.ca_file)) if tls else None
            with warm_memory(2 * SIZE):
                for which, move in list(movers.items()) * rounds:
                    file_descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
                    begun, cpu = time.perf_counter(), time.process_time()
                    sink = move(Place(port, file_descriptor, trust))
                    found[which].append((time.perf_counter() - begun, time.process_time() - cpu))
                    os.close(file_descriptor)
                    if sink.hash.digest() != digest:
                        raise RuntimeError(f"{which}: wrong bytes")
        finally:
            sender.terminate()
            sender.join()
    return found


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--tls", action="store_true")
    arguments.add_argument("--rounds", type=int, default=7)
    options = arguments.parse_args()
    begun = CoreTime.now()
    found = compare(TLS if options.tls else PLAIN, options.rounds, options.tls)
    print(f"The host kept {CoreTime.now().stolen_since(begun):.0%} of the cores to itself.\n")
    print(f"| {'TLS' if options.tls else 'plain'} | seconds, median | least | CPU seconds, median |")
    print("|---|---|---|---|")
    for name, samples in found.items():
        seconds, cpu = ([sample[at] for sample in samples] for at in (0, 1))
        print(f"| {name} | {statistics.median(seconds):.3f} | {min(seconds):.3f} | {statistics.median(cpu):.3f} |")


if __name__ == "__main__":
    main()
