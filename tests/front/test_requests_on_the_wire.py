"""Requests as no registry client sends them: each gets its own orderly answer, or 400 and the end of the connection.

Never a desync: behind every hostile request stands a second one, and what comes back is one answer, or two, or the end.
"""

import json
from collections.abc import Callable

import pytest

from tests.cast import FaultUpstream
from tests.scenarios.client import Cut, Reply
from tests.scenarios.house import APP, NAME, House, MiB, blob_path, manifest_path

Bytes = Callable[[int], bytes]
RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'
NEXT = b"GET /v2/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
CODES = {"UNSUPPORTED", "SIZE_INVALID", "NAME_INVALID", "NAME_UNKNOWN", "DIGEST_INVALID", "TAG_INVALID"}

REFUSED = {
    "Content-Length and Transfer-Encoding": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding and Content-Length": b"POST /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Length: 3\r\n\r\n0\r\n\r\n",
    "unknown Transfer-Encoding": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding before a colon with a space": b"GET /v2/ HTTP/1.1\r\nHost: a\r\n"
    b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding with a vertical tab": b"GET /v2/ HTTP/1.1\r\nHost: a\r\n"
    b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding twice": b"POST /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "chunked, then identity": b"POST /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "Content-Length twice, different": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
    b"Content-Length: 4\r\n\r\nabcd",
    "Content-Length as a list": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 4\r\n\r\nabcd",
    "negative Content-Length": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "Content-Length with a sign": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n",
    "Content-Length in words": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: none\r\n\r\n",
    "Content-Length in hexadecimal": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0x4\r\n\r\nabcd",
    "huge Content-Length": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "folded header": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n",
    "header without a name": b"GET /v2/ HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    "header without a colon": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
    "header with a null byte": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
    "header with a bare CR": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    "two Hosts": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a long request line": b"GET /v2/" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "a long header": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
    "many headers": b"GET /v2/ HTTP/1.1\r\nHost: a\r\n"
    + b"".join(b"X-%d: abcdefghijklmnopqrst\r\n" % n for n in range(200))
    + b"\r\n",
    "absolute form": b"GET http://evil.test/v2/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "authority form": b"CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n",
    "asterisk form": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/0.9": b"GET /v2/ HTTP/0.9\r\nHost: a\r\n\r\n",
    "HTTP/0.9 without a version": b"GET /v2/\r\n\r\n",
    "HTTP/2.0": b"GET /v2/ HTTP/2.0\r\nHost: a\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a version of letters": b"GET /v2/ HTTP/a.b\r\nHost: a\r\n\r\n",
    "a TLS handshake": bytes.fromhex("16030100c8010000c40303") + bytes(190) + b"\r\n\r\n",
    "WebSocket": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n",
    "a body on GET": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "a chunked body on GET": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n0\r\n\r\n",
    "a request inside a body": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(NEXT), NEXT),
    "a malformed chunk": b"POST /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a method with a space": b"G ET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a path that is no UTF-8": b"GET /v2/%ff/manifests/x HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("octets", REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_not_sent_by_a_registry_client_is_refused(house: House, octets: bytes) -> None:
    async with await house.connect() as client:
        await client.send(octets)
        reply = await client.reply()
        assert reply.status in {400, 405, 413, 505}
        assert _code(reply) in CODES
        assert await client.ended_without_a_word()
    assert (await house.get("/v2/")).status == 200


@pytest.mark.parametrize("octets", REFUSED.values(), ids=REFUSED.keys())
async def test_nothing_behind_a_refused_request_is_answered_as_if_it_were_the_first(
    house: House, octets: bytes
) -> None:
    """On a connection that has served already, and with a request right behind."""
    async with await house.connect() as client:
        await client.still_framed()
        await client.send(octets + NEXT)
        replies: list[Reply] = []
        try:
            while len(replies) < 3:
                replies.append(await client.reply())
        except Cut as cut:
            assert cut.body == b""
        assert 1 <= len(replies) <= 2
        assert replies[0].status in {400, 405, 413, 505}
        assert all(400 <= reply.status < 600 and _code(reply) for reply in replies)


ORDERLY = {
    "no Host in HTTP/1.0": (b"GET /v2/ HTTP/1.0\r\n\r\n", 200),
    "Expect": (b"GET /v2/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", 200),
    "HTTP/2 by upgrade": (
        b"GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        200,
    ),
    "an empty body": (b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 200),
    "an encoded slash": (b"GET /v2/a%2fb/manifests/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "dots in the path": (b"GET /v2/../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    "encoded dots": (b"GET /v2/registry.test/%2e%2e/%2e%2e/manifests/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a null byte": (b"GET /v2/registry.test/a%00b/manifests/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a line break": (b"GET /v2/registry.test/a%0d%0ab/manifests/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a name too long": (b"GET /v2/registry.test/%b/manifests/x HTTP/1.1\r\nHost: a\r\n\r\n" % (b"a" * 300), 400),
    "double slashes": (b"GET //v2//a//manifests//x HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    "a fragment": (b"GET /v2/#x HTTP/1.1\r\nHost: a\r\n\r\n", None),
    "empty lines before the request": (b"\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n", None),
    "bare line feeds": (b"GET /v2/ HTTP/1.1\nHost: a\n\n", None),
    "no Host": (b"GET /v2/ HTTP/1.1\r\n\r\n", None),
    "a method in small letters": (b"get /v2/ HTTP/1.1\r\nHost: a\r\n\r\n", None),
    "an unknown method": (b"BREW /v2/ HTTP/1.1\r\nHost: a\r\n\r\n", None),
}


@pytest.mark.parametrize(("octets", "status"), ORDERLY.values(), ids=ORDERLY.keys())
async def test_what_is_merely_unusual_gets_one_answer(house: House, octets: bytes, status: int | None) -> None:
    async with await house.connect() as client:
        await client.send(octets)
        head = await client.head()
        if head.status == 100:
            head = await client.head()
        body = await client.rest(head)
        assert head.status == status or (status is None and head.status in {200, 400, 404, 405})
        assert head.status == 200 or _code(Reply(head.status, head.headers, body)) in CODES
        if head.headers.get("connection") == "close" or b"HTTP/1.0" in octets:
            assert await client.ended_without_a_word()
        else:
            await client.still_framed()


async def test_two_hundred_pipelined_requests_are_answered_in_their_order(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    large = upstream.blob(APP, blob := some_bytes(MiB))
    small = upstream.blob(APP, little := some_bytes(500))
    upstream.manifest(APP, "v1", RAW)
    kinds = [
        ("/v2/", b"{}"), (blob_path(large), blob), (manifest_path("v1"), RAW), (blob_path(small), little),
        (manifest_path("none"), None),
    ]  # fmt: skip
    asked = [kinds[number * number % 5] for number in range(200)]
    async with await house.connect() as client:
        sending = b"".join(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for path, _ in asked)
        await client.send(sending)
        for _, expected in asked:
            reply = await client.reply()
            assert reply.body == expected if expected is not None else _code(reply) == "MANIFEST_UNKNOWN"
        await client.still_framed()


async def test_a_request_in_many_small_pieces_is_one_request(house: House, upstream: FaultUpstream) -> None:
    upstream.manifest(APP, "v1", RAW)
    octets = f"GET {manifest_path('v1')} HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n".encode()
    async with await house.connect() as client:
        for number in range(len(octets)):
            await client.send(octets[number : number + 1])
        assert (await client.reply()).body == RAW
        await client.still_framed()


@pytest.mark.parametrize("held", [True, False], ids=["held", "cold"])
async def test_a_client_that_has_said_all_it_wants_to_is_answered_or_left(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, held: bool
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(MiB))
    if held:
        await house.get(blob_path(digest))
        await house.quiet()
    async with await house.pull(blob_path(digest)) as client:
        client.finish_sending()
        try:
            assert (await client.reply()).body in {blob}
        except Cut as cut:
            assert len(cut.body) < len(blob)


async def test_an_old_client_may_keep_its_connection(house: House, upstream: FaultUpstream) -> None:
    upstream.manifest(APP, "v1", RAW)
    async with await house.connect() as client:
        for _ in range(2):
            await client.send(f"GET {manifest_path('v1')} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode())
            reply = await client.reply()
            assert reply.body == RAW
            if reply.headers.get("connection", "close").lower() != "keep-alive":
                assert await client.ended_without_a_word()
                break


async def test_who_asks_for_the_end_gets_it(house: House) -> None:
    async with await house.pull("/v2/", {"Connection": "close"}) as client:
        reply = await client.reply()
        assert (reply.body, reply.headers["connection"]) == (b"{}", "close")
        assert await client.ended_without_a_word()


@pytest.mark.parametrize("path", ["/", "/v1/", "/v2/_catalog/x", f"/v2/{NAME}", f"/v2/{NAME}/{APP}/blobs/", "/metrics"])
async def test_a_path_that_is_none_of_ours_is_told_so_in_json(house: House, path: str) -> None:
    reply = await house.get(path)
    assert reply.status == 404
    assert _code(reply) == "UNSUPPORTED"


async def test_what_a_client_sent_is_not_repeated_in_a_refusal(house: House) -> None:
    async with await house.connect() as client:
        await client.send(b"GET /v2/ HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer canary\x00\r\n\r\n")
        assert b"canary" not in (await client.reply()).body


def _code(reply: Reply) -> str:
    assert reply.headers["content-type"].startswith("application/json")
    (error,) = json.loads(reply.body)["errors"]
    assert set(error) >= {"code", "message"}
    return str(error["code"])
