"""A client on a raw socket: reads as little or as much as the scene says, and notices every byte that is not right."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple, Self

_PATIENCE = 30.0  # seconds; only a scene that is broken waits so long


class Cut(Exception):
    """The reply ended before its promised end; ``body`` is what came of it."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        super().__init__(f"cut after {len(body)} bytes")


class Head(NamedTuple):
    status: int
    headers: Mapping[str, str]  # names in lower case
    reason: str = ""  # the text behind the status

    @property
    def length(self) -> int | None:
        text = self.headers.get("content-length")
        return None if text is None else int(text)


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes
    reason: str = ""  # the text behind the status


class Client:
    """One connection. ``buffer`` bounds in bytes what it takes without being asked to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int, buffer: int | None = None, tls: ssl.SSLContext | None = None) -> Self:
        sock = socket.socket()
        sock.setblocking(False)
        if buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except BaseException:
            sock.close()
            raise
        try:
            name = "localhost" if tls is not None else None
            return cls(
                *await asyncio.open_connection(sock=sock, limit=buffer or 1 << 20, ssl=tls, server_hostname=name)
            )
        except BaseException:
            sock.close()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    async def send(self, octets: bytes) -> None:
        self._writer.write(octets)
        await self._writer.drain()

    async def ask(self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> None:
        await self.send(request(path, headers, method))

    async def head(self) -> Head:
        """Status line and header block. Raises Cut where the connection ends instead."""
        async with asyncio.timeout(_PATIENCE):
            try:
                block = await self._reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError) as ended:
                raise Cut(getattr(ended, "partial", b"")) from ended
        first, *lines = block.decode("latin-1").split("\r\n")
        version, status, reason = first.split(" ", 2)
        assert version == "HTTP/1.1", first
        pairs = [line.split(": ", 1) for line in lines if line]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs), f"a header stands twice: {block!r}"
        return Head(int(status), headers, reason)

    async def head_block(self) -> bytes:
        """The header block as it came."""
        async with asyncio.timeout(_PATIENCE):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def until_closed_or_answered(self) -> bytes:
        """One whole answer, and what follows it where the connection is closed then."""
        try:
            head = await self.head_block()
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            answer = head + await self.received(int(length))
            try:
                async with asyncio.timeout(0.05 if b"connection: close" not in head.lower() else _PATIENCE):
                    return answer + await self._reader.read()
            except TimeoutError:
                return answer
        except (ConnectionError, asyncio.IncompleteReadError, Cut) as ended:
            raise AssertionError(f"no whole answer: {ended!r}") from ended

    async def received(self, count: int) -> bytes:
        """Exactly so many bytes of the body. Raises Cut."""
        async with asyncio.timeout(_PATIENCE):
            try:
                return await self._reader.readexactly(count)
            except asyncio.IncompleteReadError as ended:
                raise Cut(ended.partial) from ended
            except ConnectionError as ended:
                raise Cut(b"") from ended

    async def rest(self, head: Head) -> bytes:
        """The body from here to its end. Raises Cut where it breaks off."""
        if head.status == 304:
            return b""
        if head.headers.get("transfer-encoding") == "chunked":
            return await self.chunks()
        if head.length is not None:
            return await self._exactly(head.length)
        return await self.until_closed()

    async def reply(self, method: str = "GET") -> Reply:
        head = await self.head()
        body = b"" if method == "HEAD" else await self.rest(head)
        return Reply(head.status, head.headers, body, head.reason)

    async def until_closed(self) -> bytes:
        async with asyncio.timeout(_PATIENCE):
            received = bytearray()
            try:
                while piece := await self._reader.read(1 << 16):
                    received += piece
            except ConnectionError as ended:
                raise Cut(bytes(received)) from ended
            return bytes(received)

    async def ended_without_a_word(self) -> bool:
        """Waits until the connection is closed."""
        try:
            return await self.until_closed() == b""
        except Cut as cut:
            return cut.body == b""

    async def still_framed(self) -> None:
        """The next request on this connection gets its own answer: the last reply had exactly the bytes it promised."""
        await self.ask("/v2/")
        reply = await self.reply()
        assert (reply.status, reply.body) == (200, b"{}")

    def finish_sending(self) -> None:
        self._writer.write_eof()

    def leave(self) -> None:
        """Gone without a word (RST)."""
        sock = self._writer.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def _exactly(self, count: int) -> bytes:
        """What came before a break is told."""
        received = bytearray()
        async with asyncio.timeout(_PATIENCE):
            try:
                while len(received) < count:
                    piece = await self._reader.read(min(1 << 20, count - len(received)))
                    if not piece:
                        raise Cut(bytes(received))
                    received += piece
            except ConnectionError as ended:
                raise Cut(bytes(received)) from ended
        return bytes(received)

    async def chunks(self, least: int | None = None) -> bytes:
        """Of a chunked body whole chunks, at least so many bytes where that is given, otherwise all. Raises Cut."""
        received = bytearray()
        async with asyncio.timeout(_PATIENCE):
            try:
                while least is None or len(received) < least:
                    size = int(await self._reader.readuntil(b"\r\n"), 16)
                    received += await self._reader.readexactly(size)
                    assert await self._reader.readexactly(2) == b"\r\n"
                    if size == 0:
                        break
            except (asyncio.IncompleteReadError, ConnectionError) as ended:
                raise Cut(bytes(received)) from ended
        return bytes(received)


def request(path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> bytes:
    fields = {"Host": "localhost", **(headers or {})}
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
