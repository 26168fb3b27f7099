"""What a hit costs at least: uvloop and nothing else, which sends what another server answered to the same bytes.

``python tests/bench/floor.py PORT OTHER``, both on loopback.
"""

import argparse
import asyncio
import http.client
import socket
from io import BytesIO
from typing import cast

import uvloop

_LONGEST = 1 << 20  # bytes of a reply


class Echo(asyncio.Protocol):
    """``known``: replies by the request, as bytes; what is not there ``other``, a port, is asked for."""

    _transport: asyncio.Transport

    def __init__(self, known: dict[bytes, bytes], other: int) -> None:
        self._known = known
        self._other = other

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if data not in self._known:
            self._known[data] = _answer(self._other, data)
        self._transport.write(self._known[data])


def _answer(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request)
        reading = connection.makefile("rb")
        lines = [reading.readline()]
        while lines[-1] not in (b"\r\n", b""):
            lines.append(reading.readline())
        headers = http.client.parse_headers(BytesIO(b"".join(lines[1:])))
        return b"".join(lines) + reading.read(min(_LONGEST, int(headers.get("Content-Length", "0"))))


async def _serve(port: int, other: int) -> None:
    known: dict[bytes, bytes] = {}
    server = await asyncio.get_running_loop().create_server(lambda: Echo(known, other), "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("port", type=int)
    arguments.add_argument("other", type=int)
    options = arguments.parse_args()
    uvloop.run(_serve(options.port, options.other))


if __name__ == "__main__":
    main()
