"""The roles that an upstream can play, one request at a time. Each is an ``Act`` or makes one."""

import asyncio
import gzip
import json
from collections.abc import Mapping
from dataclasses import replace

from tests.cast.line import Act, Line


async def steady(line: Line) -> None:
    content = line.ranged()
    await line.answer(content.status, content.body, content.headers)


async def silent(line: Line) -> None:
    """Takes the request and never answers."""
    await asyncio.Event().wait()  # nobody sets it; the scene ends with the connection


async def closes_unanswered(line: Line) -> None:
    line.finish()


async def then_closes(line: Line) -> None:
    """A whole answer that promises to keep the connection, which then closes."""
    await steady(line)
    line.finish()


def holds(at: int, gate: asyncio.Event) -> Act:
    """Stops at byte ``at`` of the body until the gate opens."""

    async def act(line: Line) -> None:
        content = line.ranged()
        await line.head(content.status, {"Content-Length": str(len(content.body)), **content.headers})
        await line.body(content.body[:at])
        await gate.wait()
        await line.body(content.body[at:])

    return act


def holds_in_one_piece(at: int, gate: asyncio.Event) -> Act:
    """Headers and the first ``at`` bytes in one write; the rest when the gate opens."""

    async def act(line: Line) -> None:
        body = line.content.body
        await line.raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:at])
        await gate.wait()
        await line.body(body[at:])

    return act


def stalls(at: int) -> Act:
    """Stops at byte ``at`` of the body for good."""

    async def act(line: Line) -> None:
        await holds(at, asyncio.Event())(line)

    return act


def vanishes(at: int) -> Act:
    """RST at byte ``at`` of the body."""

    async def act(line: Line) -> None:
        content = line.ranged()
        await line.head(content.status, {"Content-Length": str(len(content.body)), **content.headers})
        await line.body(content.body[:at])
        line.reset()

    return act


def ends_early(at: int) -> Act:
    """FIN at byte ``at``, fewer than promised."""

    async def act(line: Line) -> None:
        content = line.ranged()
        await line.head(content.status, {"Content-Length": str(len(content.body)), **content.headers})
        await line.body(content.body[:at])
        line.finish()

    return act


def unmeasured(at: int | None = None) -> Act:
    """No length: the body ends with the connection, after ``at`` bytes where that is given."""

    async def act(line: Line) -> None:
        content = line.ranged()
        await line.head(content.status, {**content.headers, "Connection": "close"})
        await line.body(content.body[:at])
        line.finish()

    return act


def chunked(size: int = 1000, cut_after: int | None = None) -> Act:
    """In chunks of ``size``; after ``cut_after`` chunks the connection ends."""

    async def act(line: Line) -> None:
        content = line.ranged()
        await line.head(content.status, {**content.headers, "Transfer-Encoding": "chunked"})
        for number, start in enumerate(range(0, len(content.body), size)):
            if number == cut_after:
                line.finish()
                return
            piece = content.body[start : start + size]
            await line.body(b"%x\r\n%s\r\n" % (len(piece), piece))
        await line.body(b"0\r\nTrailer: x\r\n\r\n")

    return act


def drips(at: int, gate: asyncio.Event) -> Act:
    """After ``at`` bytes one byte at each turn of the loop, until the gate opens; then the rest."""

    async def act(line: Line) -> None:
        content = line.ranged()
        await line.head(content.status, {"Content-Length": str(len(content.body)), **content.headers})
        await line.body(content.body[:at])
        position = at
        while not gate.is_set() and position < len(content.body):
            await line.body(content.body[position : position + 1])
            position += 1
            await asyncio.sleep(0.01)
        await line.body(content.body[position:])

    return act


def lies(at: int, then: Act = steady) -> Act:
    """Byte ``at`` of the content is another; it is sent as ``then`` does."""

    async def act(line: Line) -> None:
        body = bytearray(line.content.body)
        body[at] ^= 0xFF
        line.content = replace(line.content, body=bytes(body))
        await then(line)

    return act


def answers(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Act:
    async def act(line: Line) -> None:
        await line.answer(status, body, headers)

    return act


def refuses(status: int = 403, code: str = "DENIED", challenge: str | None = None) -> Act:
    body = json.dumps({"errors": [{"code": code, "message": "no"}]}).encode()
    return answers(status, body, {"WWW-Authenticate": challenge} if challenge else {})


def limits(retry_after: str | None = None) -> Act:
    """429 with any form of Retry-After, or none."""
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}'
    return answers(429, body, {"Retry-After": retry_after} if retry_after is not None else {})


def fails(status: int = 500) -> Act:
    return answers(status, b"<html>sorry</html>", {"Content-Type": "text/html"})


def redirects(location: str, status: int = 307) -> Act:
    return answers(status, b"", {"Location": location})


def encoded(encoding: str = "gzip") -> Act:
    """Compresses though asked not to."""

    async def act(line: Line) -> None:
        body = gzip.compress(line.content.body)
        await line.answer(200, body, {**line.content.headers, "Content-Encoding": encoding})

    return act


def typed(content_type: str | None) -> Act:
    """The content under another Content-Type, or none."""

    async def act(line: Line) -> None:
        headers = {name: value for name, value in line.content.headers.items() if name != "Content-Type"}
        await line.answer(
            200, line.content.body, {**headers, "Content-Type": content_type} if content_type else headers
        )

    return act


def without(header: str) -> Act:
    """The steady answer less one header."""

    async def act(line: Line) -> None:
        content = line.ranged()
        kept = {name: value for name, value in content.headers.items() if name.lower() != header.lower()}
        await line.answer(content.status, content.body, kept)

    return act


async def endless(line: Line) -> None:
    """A body in chunks that never ends."""
    await line.head(200, {**line.content.headers, "Transfer-Encoding": "chunked"})
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    while True:
        await line.body(chunk)


async def ignores_range(line: Line) -> None:
    await line.answer(200, line.content.body, line.content.headers)


def misplaces(content_range: str) -> Act:
    """206 with a Content-Range of the test's choice."""

    async def act(line: Line) -> None:
        content = line.ranged()
        await line.answer(206, content.body, {**content.headers, "Content-Range": content_range})

    return act


async def interim(line: Line) -> None:
    """100 and 103 before the answer."""
    await line.raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
    await steady(line)


async def gibberish(line: Line) -> None:
    await line.raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    line.finish()
