"""One request and the raw socket to answer it on."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

Act = Callable[["Line"], Awaitable[None]]
"""How a request is answered."""


@dataclass
class Seen:
    """One line of the ledger."""

    kind: str  # manifest, blob, tags, referrers, token, ping, other
    method: str
    target: str  # path and query
    headers: Mapping[str, str]  # names in lower case
    connection: int  # which connection, counted from 1
    sent: int = 0  # bytes of body sent in answer
    body: bytes = b""  # of the request


@dataclass
class Content:
    """What a steady registry would answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Line:
    def __init__(self, seen: Seen, content: Content, writer: asyncio.StreamWriter) -> None:
        self.seen = seen
        self.content = content
        self.writer = writer
        self.open = True  # another request may follow
        self.range = seen.headers.get("range", "")  # what ``ranged`` goes by

    async def raw(self, octets: bytes) -> None:
        self.writer.write(octets)
        await self.writer.drain()

    async def head(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} As Told", *(f"{name}: {value}" for name, value in headers.items())]
        await self.raw(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    async def body(self, octets: bytes) -> None:
        if self.seen.method != "HEAD":
            self.seen.sent += len(octets)
            await self.raw(octets)

    async def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        await self.head(status, {"Content-Length": str(len(body)), **(headers or {})})
        await self.body(body)

    def ranged(self) -> Content:
        """The content, cut to the Range that was asked for where it is there."""
        content, asked = self.content, self.range
        first, _, last = asked.removeprefix("bytes=").partition("-")
        if content.status != 200 or not first.isdigit():
            return content
        size, start = len(content.body), int(first)
        if start >= size:
            return Content(416, b"", {"Content-Range": f"bytes */{size}"})
        end = min(int(last) + 1, size) if last else size
        span = {"Content-Range": f"bytes {start}-{end - 1}/{size}"}
        return Content(206, content.body[start:end], {**content.headers, **span})

    def finish(self) -> None:
        """An orderly end of the connection."""
        self.open = False
        self.writer.close()

    def reset(self) -> None:
        """RST: what is on its way is lost."""
        self.open = False
        sock = self.writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
