"""A forward proxy on a free loopback port, in the test's loop on raw sockets: CONNECT, and plain http in the open.

async with ForwardProxy(user=("me", "s3cret")) as proxy:
    proxy.places["registry.test:443"] = up.port   # names that only it can resolve
    ...
    assert proxy.targets == ["registry.test:443"]
"""

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.cast.guard import basic


@dataclass(frozen=True)
class Asked:
    """One request to the proxy."""

    method: str
    target: str  # host:port
    authorization: str | None
    let_through: bool


class ForwardProxy:
    """``user`` is whom it serves, anybody where None; with ``status`` it refuses everybody."""

    def __init__(self, *, user: tuple[str, str] | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.places: dict[str, int] = {}  # loopback ports, by host:port
        self.user = user
        self.status = 0
        self.port = 0
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.vanish()

    async def vanish(self) -> None:
        """Every connection ends, and whoever tries again is refused one."""
        assert self._server is not None
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def targets(self) -> list[str]:
        """What was let through, in order."""
        return [asked.target for asked in self.asked if asked.let_through]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            self._handlers.discard(handler)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        given = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        url = urlsplit(target)
        place = target if method == "CONNECT" else f"{url.hostname}:{url.port or 80}"
        status = self._refusal(given.get("proxy-authorization"))
        self.asked.append(Asked(method, place, given.get("proxy-authorization"), status == 0))
        if status:
            writer.write(b"HTTP/1.1 %d As Told\r\nContent-Length: 0\r\n\r\n" % status)
            await writer.drain()
            return
        there = await asyncio.open_connection("127.0.0.1", self.places.get(place) or int(place.rpartition(":")[2]))
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            kept = [line for line in lines if line and not line.lower().startswith(("proxy-", "connection:"))]
            path = f"{url.path or '/'}{'?' if url.query else ''}{url.query}"
            there[1].write("\r\n".join([f"{method} {path} HTTP/1.1", *kept, "Connection: close", "", ""]).encode())
        try:
            await asyncio.gather(_pumped(reader, there[1]), _pumped(there[0], writer))
        finally:
            there[1].close()

    def _refusal(self, authorization: str | None) -> int:
        if self.status:
            return self.status
        return 407 if self.user is not None and authorization != basic(*self.user) else 0


async def _pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while octets := await reader.read(65536):
        writer.write(octets)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()
