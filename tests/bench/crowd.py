"""Many clients that hardly do anything: ``python -m tests.bench.crowd PORT SLOW_PATH IDLE_PATH``.

Idle clients make one small request each and then keep their connection; slow ones read one large body at a fixed rate.
When all are there, ``ready`` is printed; at the end of stdin, a JSON line says how many connections are still alive and
how fast the slow ones were read.
"""

import argparse
import json
import select
import socket
import sys
import time
from collections.abc import Sequence

from tests.bench.clients import request

_BEAT = 0.25  # seconds between two readings
_RECEIVE_BUFFER = 32 * 1024  # small, or the kernel would read ahead for the slow ones
_PER_ADDRESS = 5_000  # connections from one loopback address: there are some 28,000 ports


def connections(port: int, count: int, first_address: int) -> list[socket.socket]:
    opened = []
    for number in range(count):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        connection.bind((f"127.0.0.{first_address + number // _PER_ADDRESS}", 0))
        connection.connect(("127.0.0.1", port))
        opened.append(connection)
    return opened


def alive(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return True
    except OSError:
        return False


def idle(port: int, path: str, count: int) -> list[socket.socket]:
    clients = connections(port, count, 10)
    for client in clients:
        client.sendall(request(port, path))
        answer = client.recv(16 * 1024)
        if b" 200 " not in answer[:16]:
            raise SystemExit(f"idle client: {answer[:80]!r}")
    return clients


def read_slowly(clients: Sequence[socket.socket], rate: float) -> float:
    """Bytes per second and client, until stdin ends."""
    received = 0
    buffer = bytearray(int(rate * _BEAT))
    begun = beat = time.monotonic()
    while not select.select([sys.stdin], [], [], max(0.0, beat - time.monotonic()))[0]:
        beat += _BEAT
        for client in clients:
            try:
                received += client.recv_into(buffer, 0, socket.MSG_DONTWAIT | socket.MSG_TRUNC)
            except BlockingIOError:
                continue
            except OSError:  # the server gave up on this client: alive() will tell
                continue
    return received / (time.monotonic() - begun) / max(1, len(clients))


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("port", type=int)
    arguments.add_argument("slow_path")
    arguments.add_argument("idle_path")
    arguments.add_argument("--slow", type=int, default=1000)
    arguments.add_argument("--idle", type=int, default=10_000)
    arguments.add_argument("--rate", type=float, default=64 * 1024, help="bytes per second and slow client")
    options = arguments.parse_args()
    resting = idle(options.port, options.idle_path, options.idle)
    readers = connections(options.port, options.slow, 30)
    for reader in readers:
        reader.sendall(request(options.port, options.slow_path))
    print("ready", flush=True)
    rate = read_slowly(readers, options.rate)
    print(json.dumps({"idle": sum(map(alive, resting)), "slow": sum(map(alive, readers)), "rate": rate}), flush=True)


if __name__ == "__main__":
    main()
