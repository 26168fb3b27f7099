"""Answers as no upstream should send them, and as any may, to a manifest and to a blob: what is read is what was sent,
the rest is a broken upstream, at once and at no cost."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

import pytest

from proxy.core.egress import Egress
from proxy.core.errors import Fault, UpstreamUnreachable
from proxy.core.names import Digest, Tag
from proxy.upstream.egress import WaysOut
from proxy.upstream.http1 import LONGEST_HEAD, MOST_FIELDS, MOST_INTERIM
from proxy.upstream.registry import HttpRegistry
from tests.cast import Act, FaultUpstream, Line
from tests.upstream.rig import NAME, client_of, pulled
from tests.upstream.test_egress_scenes import asking

RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'
TAG = Tag("1")
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(RAW)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
IN_CHUNKS = b"5\r\n" + RAW[:5] + b"\r\n%X\r\n" % (len(RAW) - 5) + RAW[5:] + b"\r\n0\r\n\r\n"
END = b"\r\n"
MiB = 1 << 20

Pull = Callable[[HttpRegistry], Awaitable[bytes]]


async def by_manifest(registry: HttpRegistry) -> bytes:
    return (await registry.manifest(NAME, TAG)).raw


async def by_blob(registry: HttpRegistry) -> bytes:
    return await pulled(registry, Digest.of(RAW))


ROADS = pytest.mark.parametrize("pull", [by_manifest, by_blob])

WHOLE = {
    "a length": (OK + LENGTH + END + RAW, True),
    "the same length twice": (OK + LENGTH + LENGTH + END + RAW, True),
    "a length as a list of one": (OK + b"Content-Length: %d, %d\r\n" % (len(RAW), len(RAW)) + END + RAW, True),
    "no reason": (b"HTTP/1.1 200\r\n" + LENGTH + END + RAW, True),
    "an empty reason": (b"HTTP/1.1 200 \r\n" + LENGTH + END + RAW, True),
    "a reason that is not ASCII": (b"HTTP/1.1 200 \xe4\r\n" + LENGTH + END + RAW, True),
    "space around a value": (OK + b"content-LENGTH: \t %d \t\r\n" % len(RAW) + END + RAW, True),
    "an empty value": (OK + LENGTH + b"X:\r\n" + END + RAW, True),
    "as many lines as may be": (OK + LENGTH + b"X: y\r\n" * (MOST_FIELDS - 1) + END + RAW, True),
    "as long a head as may be": (
        OK + LENGTH + b"X: " + b"y" * (LONGEST_HEAD - len(OK + LENGTH) - 7) + b"\r\n\r\n" + RAW,
        True,
    ),
    "interim answers": (b"HTTP/1.1 100 Continue\r\n\r\n" * MOST_INTERIM + OK + LENGTH + END + RAW, True),
    "a connection that it will end": (OK + LENGTH + b"Connection: x, Close\r\n" + END + RAW, False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n" + LENGTH + END + RAW, False),
    "more than was promised": (OK + LENGTH + END + RAW + b"HTTP/1.1 200 OK\r\n\r\n", False),
    "chunks": (OK + CHUNKED + END + IN_CHUNKS, True),
    "chunks by a name in capitals": (OK + b"TRANSFER-ENCODING: Chunked\r\n" + END + IN_CHUNKS, True),
    "chunks of one byte": (
        OK + CHUNKED + END + b"".join(b"1\r\n%c\r\n" % byte for byte in RAW) + b"0\r\n\r\n",
        True,
    ),
    "chunks with leading noughts": (OK + CHUNKED + END + IN_CHUNKS.replace(b"5\r", b"0005\r", 1), True),
    "extensions": (OK + CHUNKED + END + IN_CHUNKS.replace(b"5\r", b'5 ; a;b=c ; d = "e\\"\xe4;"\r', 1), True),
    "trailers": (OK + CHUNKED + END + IN_CHUNKS[:-2] + b"X: y\r\nZ:\r\n\r\n", True),
    "more than the last chunk": (OK + CHUNKED + END + IN_CHUNKS + b"0\r\n\r\n", False),
    "chunks on a connection that it will end": (OK + CHUNKED + b"Connection: close\r\n" + END + IN_CHUNKS, False),
}
"""Bytes, and whether another request may follow on the connection."""


def told(octets: bytes, split: int) -> Act:
    """In pieces of ``split`` bytes, a turn of the loop between any two."""

    async def act(line: Line) -> None:
        for start in range(0, len(octets), split):
            await line.raw(octets[start : start + split])
            await asyncio.sleep(0)

    return act


async def outcome(registry: HttpRegistry, pull: Pull) -> str:
    """The sentence of the fault that comes of a pull, or what it brings."""
    try:
        return "whole" if await pull(registry) == RAW else "wrong"
    except Fault as fault:
        return f"{type(fault).__name__}: {fault}"


@ROADS
@pytest.mark.parametrize("split", [1, MiB])
async def test_what_keeps_the_rules_is_read(split: int, pull: Pull) -> None:
    found, expected = {}, {}
    async with FaultUpstream() as up, client_of(up) as registry:
        for name, (octets, kept) in WHOLE.items():
            if split == 1 and name.startswith("more than"):
                continue  # what comes behind the answer may come behind the next question too
            for kind in ("manifest", "blob"):
                up.always(kind, told(octets, max(split, len(octets) // 256)))
            first, second = await outcome(registry, pull), await outcome(registry, pull)
            reused = up.ledger[-1].connection == up.ledger[-2].connection
            found[name] = first, second, reused
            expected[name] = "whole", "whole", kept
    assert found == expected


@ROADS
async def test_a_body_without_an_end_of_its_own_ends_with_the_connection(pull: Pull) -> None:
    async def act(line: Line) -> None:
        await line.raw(OK + END + RAW)
        line.finish()

    async with FaultUpstream() as up, client_of(up) as registry:
        for kind in ("manifest", "blob"):
            up.always(kind, act)
        assert await pull(registry) == RAW


BROKEN = {
    "HTTP/0.9": b"hello",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n" + LENGTH + END + RAW,
    "HTTP in small letters": b"http/1.1 200 OK\r\n" + LENGTH + END + RAW,
    "an empty line in front": END + OK + LENGTH + END + RAW,
    "a status of two digits": b"HTTP/1.1 20 OK\r\n" + LENGTH + END + RAW,
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n" + LENGTH + END + RAW,
    "a status that is none": b"HTTP/1.1 600 OK\r\n" + LENGTH + END + RAW,
    "two spaces": b"HTTP/1.1  200 OK\r\n" + LENGTH + END + RAW,
    "bare LF": (OK + LENGTH + END).replace(b"\r", b"") + RAW,
    "one bare LF": OK + b"X: y\n" + LENGTH + END + RAW,
    "LF at the end": OK + LENGTH + b"\n" + RAW,
    "bare CR": OK + b"X: y\rz\r\n" + LENGTH + END + RAW,
    "two CR": OK + b"X: y\r\r\n" + LENGTH + END + RAW,
    "NUL in a value": OK + b"X: y\0z\r\n" + LENGTH + END + RAW,
    "NUL in the reason": b"HTTP/1.1 200 O\0K\r\n" + LENGTH + END + RAW,
    "a control character": OK + b"X: y\x07\r\n" + LENGTH + END + RAW,
    "a folded line": OK + b"X: y\r\n z\r\n" + LENGTH + END + RAW,
    "a folded length": OK + b"Content-Length:\r\n %d\r\n" % len(RAW) + END + RAW,
    "a line that begins with space": OK + b" X: y\r\n" + LENGTH + END + RAW,
    "space before a colon": OK + b"Content-Length : %d\r\n" % len(RAW) + END + RAW,
    "no colon": OK + b"nonsense\r\n" + LENGTH + END + RAW,
    "no name": OK + b": y\r\n" + LENGTH + END + RAW,
    "a name that is not ASCII": OK + b"\xc3\xa4: y\r\n" + LENGTH + END + RAW,
    "a line too many": OK + LENGTH + b"X: y\r\n" * MOST_FIELDS + END + RAW,
    "a byte too many": OK + LENGTH + b"X: " + b"y" * (LONGEST_HEAD - len(OK + LENGTH) - 6) + b"\r\n\r\n" + RAW,
    "heads too long together": (b"HTTP/1.1 103 E\r\nX: " + b"y" * 30_000 + b"\r\n\r\n") * 3 + OK + LENGTH + END + RAW,
    "an interim answer too many": b"HTTP/1.1 103 E\r\n\r\n" * (MOST_INTERIM + 1) + OK + LENGTH + END + RAW,
    "an interim answer that is broken": b"HTTP/1.1 103 E\r\nX\r\n\r\n" + OK + LENGTH + END + RAW,
    "another protocol to switch to": b"HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n" + RAW,
    "two lengths": OK + LENGTH + b"Content-Length: 5\r\n" + END + RAW,
    "a list of two lengths": OK + b"Content-Length: %d, 5\r\n" % len(RAW) + END + RAW,
    "a length and nothing": OK + b"Content-Length: %d,\r\n" % len(RAW) + END + RAW,
    "an empty length": OK + b"Content-Length:\r\n" + END + RAW,
    "a length with a sign": OK + b"Content-Length: +%d\r\n" % len(RAW) + END + RAW,
    "a length below nought": OK + b"Content-Length: -1\r\n" + END + RAW,
    "a length with an underscore": OK + b"Content-Length: 4_3\r\n" + END + RAW,
    "a length in hexadecimal": OK + b"Content-Length: 0x2b\r\n" + END + RAW,
    "a length in other digits": OK + "Content-Length: ٤٣\r\n".encode() + END + RAW,
    "a length of 5,000 digits": OK + b"Content-Length: " + b"0" * 4998 + b"%d\r\n" % len(RAW) + END + RAW,
    "a length and chunks": OK + LENGTH + CHUNKED + END + IN_CHUNKS,
    "chunks twice": OK + CHUNKED + CHUNKED + END + IN_CHUNKS,
    "a coding beside chunks": OK + b"Transfer-Encoding: gzip, chunked\r\n" + END + IN_CHUNKS,
    "a coding that is none": OK + b"Transfer-Encoding: xchunked\r\n" + END + IN_CHUNKS,
    "no coding at all": OK + b"Transfer-Encoding:\r\n" + END + IN_CHUNKS,
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\n" + CHUNKED + END + IN_CHUNKS,
}

BROKEN_CHUNKS = {
    "size -1": b"-1\r\n",
    "size +5": b"+5\r\n" + IN_CHUNKS[3:],
    "size 0x5": b"0x5\r\n" + IN_CHUNKS[3:],
    "no size": b"\r\n" + IN_CHUNKS,
    "an underscore": b"0_5\r\n" + IN_CHUNKS[3:],
    "space behind the size": b"5 \r\n" + IN_CHUNKS[3:],
    "space before the size": b" 5\r\n" + IN_CHUNKS[3:],
    "16 digits": b"0000000000000005\r\n" + IN_CHUNKS[3:],
    "bare LF behind the size": b"5\n" + IN_CHUNKS[3:],
    "bare CR in an extension": b"5;a\rb\r\n" + IN_CHUNKS[3:],
    "NUL in an extension": b"5;a\0b\r\n" + IN_CHUNKS[3:],
    "an extension without a name": b"5;\r\n" + IN_CHUNKS[3:],
    "an open quote": b'5;a="b\r\n' + IN_CHUNKS[3:],
    "an extension of 60 KiB": b"5;" + b"a" * 60_000 + b"\r\n" + IN_CHUNKS[3:],
    "an extension without end": b"5;" + b"a" * MiB,
    "a chunk longer than it says": IN_CHUNKS.replace(b"5\r", b"4\r", 1),
    "no CR LF behind a chunk": IN_CHUNKS.replace(b"\r\n26", b"26", 1),
    "bare LF behind a chunk": IN_CHUNKS.replace(b"\r\n26", b"\n26", 1),
    "a trailer that is none": IN_CHUNKS[:-2] + b"nonsense\r\n\r\n",
    "a folded trailer": IN_CHUNKS[:-2] + b"X: y\r\n z\r\n\r\n",
    "a long trailer": IN_CHUNKS[:-2] + b"X: " + b"y" * 60_000 + b"\r\n\r\n",
    "trailers without end": IN_CHUNKS[:-2] + b"X: y\r\n" * 100_000,
}


@ROADS
async def test_what_breaks_them_is_a_broken_upstream_at_once(pull: Pull) -> None:
    """The connection stays open, and no clock moves: that the pull ends shows that the fault was seen."""
    cases = BROKEN | {name: OK + CHUNKED + END + octets for name, octets in BROKEN_CHUNKS.items()}
    wrong = {}
    async with FaultUpstream() as up, client_of(up) as registry:
        for kind in ("manifest", "blob"):
            up.always(kind, told(OK + LENGTH + END + RAW, MiB))
        for number, (name, octets) in enumerate(cases.items(), 1):
            for kind in ("manifest", "blob"):
                up.plays(kind, told(octets, MiB))
            first, second = await outcome(registry, pull), await outcome(registry, pull)
            if not first.startswith("UpstreamBroken") or "in HTTP: " not in first or second != "whole":
                wrong[name] = first, second
            assert len(up.ledger) == 2 * number, name
            assert up.ledger[-1].connection != up.ledger[-2].connection, name
            up.forget_plays()
    assert not wrong


@ROADS
@pytest.mark.parametrize(
    "octets", [b"", OK, OK + LENGTH + END, OK + LENGTH + END + RAW[:9], OK + CHUNKED + END + IN_CHUNKS[:-2]]
)
async def test_what_breaks_off_is_an_outage(octets: bytes, pull: Pull) -> None:
    async def act(line: Line) -> None:
        await line.raw(octets)
        line.finish()

    async with FaultUpstream() as up, client_of(up) as registry:
        for kind in ("manifest", "blob"):
            up.always(kind, act)
        with pytest.raises(UpstreamUnreachable):
            await pull(registry)


def floods(first: bytes, again: bytes, sent: list[int]) -> Act:
    """``again`` and again, up to 64 MiB of it."""

    async def act(line: Line) -> None:
        await line.raw(first)
        sent.append(0)
        with suppress(OSError):
            for _ in range(64 * MiB // len(again)):
                await line.raw(again)
                sent[-1] += len(again)
        line.finish()

    return act


FLOODS = {
    "a line of the head": (OK + b"X: ", b"y" * 65536),
    "bare CR": (OK + b"X: ", b"\r" * 65536),
    "lines of the head": (OK, b"X: y\r\n" * 8192),
    "interim answers": (b"", b"HTTP/1.1 103 E\r\nX: y\r\n\r\n" * 4096),
    "a status line": (b"HTTP/1.1 200 ", b"y" * 65536),
    "an extension": (OK + CHUNKED + END + b"5;", b"y" * 65536),
    "tiny chunks": (OK + CHUNKED + END, b"1\r\n \r\n" * 8192),
    "extensions of tiny chunks": (OK + CHUNKED + END, b"1;" + b"y" * 4000 + b"\r\n \r\n"),
    "trailers": (OK + CHUNKED + END + b"0\r\n", b"X: y\r\n" * 8192),
    "a body of -1": (OK + CHUNKED + END + b"-1\r\n", b" " * 65536),
    **{
        f"a body of -1 behind {status}": (
            b"HTTP/1.1 %d X\r\nLocation: /x\r\n" % status + CHUNKED + END + b"-1\r\n",
            b" " * 65536,
        )
        for status in (307, 401, 404, 418)
    },
    **{
        f"a body without end behind {status}": (b"HTTP/1.1 %d X\r\nLocation: /x\r\n" % status + END, b" " * 65536)
        for status in (307, 401, 404, 418)
    },
}


@ROADS
async def test_what_never_ends_is_not_listened_to(pull: Pull) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        for name, (first, again) in FLOODS.items():
            sent: list[int] = []
            for kind in ("manifest", "blob", "/x"):
                up.always(kind, floods(first, again, sent))
            assert await outcome(registry, pull) not in {"whole", "wrong"}, name
            assert max(sent) < 16 * MiB, name  # what the kernel holds of it on either side


async def test_large_chunks_of_a_blob_arrive_whole() -> None:
    content = os.urandom(5 * MiB + 3)
    edges = [0, 1, 70_000, 2 * MiB, 2 * MiB + 3, len(content)]

    async def act(line: Line) -> None:
        await line.raw(OK + CHUNKED + END)
        for start, end in pairwise(edges):
            await line.raw(b"%x\r\n%s\r\n" % (end - start, content[start:end]))
        await line.raw(b"0\r\n\r\n")

    async with FaultUpstream() as up, client_of(up) as registry:
        up.always("blob", act)
        for _ in range(2):
            assert await pulled(registry, Digest.of(content)) == content
        assert up.connections == 1


class FalseProxy:
    """Answers everybody with ``answer``, and leaves the connection open."""

    def __init__(self) -> None:
        self.answer = b""
        self.asked = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            writer.write(self.answer)
            await writer.drain()
            await reader.read()
        writer.close()


@asynccontextmanager
async def behind(proxy: FalseProxy, scheme: str) -> AsyncIterator[HttpRegistry]:
    """A registry that is asked once for each question, through that proxy."""
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    ways = WaysOut(Egress(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", ()))
    async with server, asking(f"{scheme}://registry.test", ways) as registry:
        yield registry


@ROADS
@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ("https", "UpstreamUnreachable: up: no connection to https://registry.test: the proxy "),
        ("http", "UpstreamBroken: up: http://registry.test/"),
    ],
)
async def test_a_proxy_that_breaks_them_is_believed_nothing(scheme: str, words: str, pull: Pull) -> None:
    proxy, wrong = FalseProxy(), {}
    async with behind(proxy, scheme) as registry:
        for number, (name, proxy.answer) in enumerate(BROKEN.items(), 1):
            found = await outcome(registry, pull)
            if not found.startswith(words) or proxy.asked != number:
                wrong[name] = found
    assert not wrong


@ROADS
async def test_a_proxy_that_speaks_within_its_tunnel_first_makes_none(pull: Pull) -> None:
    proxy = FalseProxy()
    proxy.answer = b"HTTP/1.1 200 Connection established\r\n\r\n\x16\x03"
    async with behind(proxy, "https") as registry:
        assert "gave no answer (AnswerMalformed)" in await outcome(registry, pull)
