"""Two paths, one answer: what the fast path sends is what the full path would have sent, byte for byte."""

import asyncio
import itertools
import json
import random
import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import pytest

from proxy.core.names import Digest
from proxy.front.requests import Understood
from tests.cast import FaultUpstream, ManualClock
from tests.scenarios.client import Client
from tests.scenarios.conftest import under
from tests.scenarios.house import APP, NAME, House, MiB, blob_path, manifest_path

Bytes = Callable[[int], bytes]


class Watched:
    """The fast path, that can be closed: everything goes by the full one then. ``answered`` counts its replies."""

    def __init__(self, house: House) -> None:
        self.is_open = True
        self.answered = 0
        self._reply = house.front.fast_reply
        house.front.fast_reply = self

    def __call__(self, understood: Understood, block: bytes, address: str, now: float) -> bytes | None:
        reply = self._reply(understood, block, address, now) if self.is_open else None
        self.answered += reply is not None
        return reply


def manifest(*layers: Digest) -> bytes:
    described = [{"digest": layer, "size": 1, "mediaType": "application/octet-stream"} for layer in layers]
    return json.dumps({"schemaVersion": 2, "config": {}, "layers": described}).encode()


async def exchange(house: House, raw: bytes) -> bytes:
    """All that comes back until the answer to a ping that follows, but for what differs each time."""
    async with await house.connect() as client:
        await client.send(raw)
        head = await client.head_block()
        text = head.lower()
        length = int(text.split(b"content-length: ")[1].split(b"\r\n")[0]) if b"content-length: " in text else 0
        body = b"" if raw.startswith(b"HEAD") else await client.received(length)
        await client.still_framed()
        return alike(head + body)


async def test_a_thousand_requests_get_the_same_bytes_on_both_paths(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    blobs = [upstream.blob(APP, some_bytes(size)) for size in (0, 1, 173, 4096, 64 << 10, (64 << 10) + 1)]
    tagged = upstream.manifest(APP, "v1", manifest(*blobs))
    paths = [f"/v2/{NAME}/{APP}/{kind}/{reference}" for kind, reference in
             [("manifests", "v1"), ("manifests", tagged), *(("blobs", digest) for digest in blobs)]]  # fmt: skip
    paths += [f"/v2/{APP}/{kind}/{reference}?ns={NAME}" for kind, reference in
              [("manifests", "v1"), ("manifests", tagged), *(("blobs", digest) for digest in blobs)]]  # fmt: skip
    for path in paths:
        for _ in range(2):
            assert (await house.get(path)).status == 200
        await house.quiet()
    extras = [
        "", "User-Agent: containerd/2.1\r\n", "Accept: */*\r\nAccept-Encoding: gzip\r\n", "X-Odd: a,b;c=1\r\n",
        "Connection: keep-alive\r\n", "Range: bytes=3-9\r\n", "Range: bytes=-1\r\n", "If-None-Match: *\r\n",
        "Authorization: Bearer t\r\nX-Request-Id: 7\r\n", "Range: bytes=1-2\r\nIf-Range: other\r\n",
    ]  # fmt: skip
    chance = random.Random(3)
    every = list(itertools.product(["GET", "HEAD"], [*paths, "/v2/", "/v2"], extras))
    fast_path = Watched(house)
    for method, path, extra in chance.choices(every, k=500):
        raw = f"{method} {path} HTTP/1.1\r\nHost: cache.test:5000\r\n{extra}\r\n".encode()
        fast_path.is_open = True
        fast = await exchange(house, raw)
        fast_path.is_open = False
        assert fast == await exchange(house, raw)
    assert fast_path.answered > 800, "nearly all of it is in memory"


async def test_both_paths_count_alike(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    digest = upstream.blob(APP, some_bytes(5000))
    await house.get(blob_path(digest))
    await house.quiet()
    await house.get(blob_path(digest))

    fast_path = Watched(house)

    async def counted(by_fast_path: bool) -> dict[object, tuple[int, int]]:
        fast_path.is_open = by_fast_path
        before = {key: (tally.requests, tally.sent) for key, tally in house.access_log.tallies.items()}
        for method in ("GET", "HEAD"):
            await exchange(house, f"{method} {blob_path(digest)} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        return {
            key: (tally.requests - before.get(key, (0, 0))[0], tally.sent - before.get(key, (0, 0))[1])
            for key, tally in house.access_log.tallies.items()
        }

    assert await counted(True) == await counted(False)
    assert fast_path.answered == 4


async def test_a_tag_leaves_the_fast_path_when_its_time_is_up(
    house: House, upstream: FaultUpstream, clock: ManualClock
) -> None:
    upstream.manifest(APP, "v1", first := manifest())
    path = manifest_path("v1")
    await house.get(path)
    assert (await house.get(path)).headers["cache-status"] == "entrepot; hit"
    upstream.manifest(APP, "v1", second := manifest(Digest.of(b"x")))
    assert (await house.get(path)).body == first
    clock.advance(61)
    assert (await house.get(path)).body == second
    assert (await house.get(path)).body == second


async def test_what_was_let_go_leaves_the_fast_path_at_once(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, some_bytes(500))
    for _ in range(2):
        await house.get(blob_path(digest))
        await house.quiet()
    assert house.outcomes()["hit"] == 1
    await house.cache.space.evict(1)
    again = await house.get(blob_path(digest))
    assert again.headers["cache-status"] == "entrepot; fwd=miss; stored"


ODD = [
    b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nX: y\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n",
    b"GET /v2/ HTTP/1.1\nHost: a\n\n",
    b"GET http://evil.test/v2/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /v2/ HTTP/2.0\r\nHost: a\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
    b"GET /v2/%00 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET /v2/ HTTP/1.0\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"* / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
]


async def answer(house: House, pieces: list[bytes]) -> bytes:
    """Everything until the connection ends, or stays silent once a whole answer has come."""
    async with await house.connect() as client:
        for piece in pieces:
            try:
                await client.send(piece)
            except ConnectionError:
                break
            await asyncio.sleep(0)
        return alike(await client.until_closed_or_answered())


def alike(raw: bytes) -> bytes:
    """Without what differs from one answer to the next that is the same: the date, and the request's id."""
    kept = b"\r\n".join(line for line in raw.split(b"\r\n") if not line.startswith((b"Date:", b"Server:")))
    return re.sub(rb'(\(request |"request": ")[0-9a-f]{12}', rb"\1ID", kept)


@pytest.mark.parametrize("raw", ODD, ids=[repr(raw[:60]) for raw in ODD])
async def test_an_odd_request_gets_one_orderly_answer_split_at_whatever_byte(house: House, raw: bytes) -> None:
    whole = await answer(house, [raw])
    status = int(whole.split(b" ", 2)[1])
    assert status in {200, 400, 404, 405, 413, 505}
    assert len(re.findall(rb"HTTP/1\.[01] [0-9]{3} ", whole)) == 1
    for at in range(1, len(raw)):
        assert await answer(house, [raw[:at], raw[at:]]) == whole, f"split at {at}"


@pytest.mark.parametrize(("headers", "status"), [(99, 200), (100, 200), (101, 400), (400, 400)])
async def test_both_paths_bear_as_many_headers(house: House, headers: int, status: int) -> None:
    block = b"GET /v2/ HTTP/1.1\r\nHost: a\r\n" + (headers - 1) * b"A: b\r\n" + b"\r\n"
    at_once, whole = await answer(house, [block]), await answer(house, [block[:10], block[10:]])
    assert int(at_once.split(b" ", 2)[1]) == int(whole.split(b" ", 2)[1]) == status


async def test_requests_sent_at_once_are_answered_in_order(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    contents = [some_bytes(size) for size in (10, 5000, 3 * MiB, 20)]
    digests = [upstream.blob(APP, content) for content in contents]
    for digest in digests * 2:
        await house.get(blob_path(digest))
        await house.quiet()
    async with await house.connect() as client:
        order = digests * 10
        await client.send(b"".join(f"GET {blob_path(one)} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for one in order))
        for digest in order:
            reply = await client.reply()
            assert (reply.status, Digest.of(reply.body)) == (200, digest)
        await client.still_framed()


@under()
async def test_a_silent_connection_is_closed_and_one_that_spoke_may_rest(house: House, clock: ManualClock) -> None:
    silent: Client
    async with await house.connect() as silent, await house.connect() as spoke:
        await spoke.still_framed()
        clock.advance(16)
        house.front.sweep(clock())
        assert await silent.until_closed() == b""
        await spoke.still_framed()
        clock.advance(76)
        house.front.sweep(clock())
        assert await spoke.until_closed() == b""


async def test_a_connection_is_back_on_the_fast_path_behind_a_reply_of_the_full_one(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    large = upstream.blob(APP, blob := some_bytes(MiB))
    fast_path = Watched(house)
    async with await house.connect() as client:
        for turn in range(1, 4):
            await client.ask(blob_path(large))
            assert (await client.reply()).body == blob
            await client.still_framed()
            assert fast_path.answered == turn


async def test_what_changes_with_each_request_is_answered_from_memory(house: House, upstream: FaultUpstream) -> None:
    upstream.manifest(APP, "v1", raw := manifest())
    for _ in range(2):
        await house.get(manifest_path("v1"))
    fast_path = Watched(house)
    async with await house.connect() as client:
        for number in range(50):
            headers = {"X-Request-Id": str(number), "traceparent": f"00-{number}-1", "User-Agent": f"a/{number}"}
            await client.ask(manifest_path("v1"), {**headers, "Authorization": f"Bearer {number}"})
            assert (await client.reply()).body == raw
    assert fast_path.answered == 50


@pytest.mark.parametrize(
    "smuggled",
    [
        b"X-A: b\r\n\r\n",
        b"X-A: b\r\nContent-Length: 5\r\n\r\n",
        b"X-A: b\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"X-A: b\r\n folded\r\n\r\n",
        b"X-A : b\r\n\r\n",
        b"X-A: b\nContent-Length: 5\r\n\r\n",
        b"X-A: \x00\r\n\r\n",
    ],
)
async def test_headers_that_are_left_out_hide_nothing(house: House, smuggled: bytes) -> None:
    """Behind a block whose remainder is known: what follows it is a request of its own, or refused."""
    plain = b"GET /v2/ HTTP/1.1\r\nHost: a\r\n"
    async with await house.connect() as client:
        for _ in range(3):
            await client.send(plain + b"\r\n")
            assert (await client.reply()).status == 200
        await client.send(plain + smuggled)
        reply = await client.reply()
        assert reply.status == (200 if smuggled == b"X-A: b\r\n\r\n" else reply.status)
        assert reply.status in {200, 400, 413}
        if reply.status == 200:
            await client.still_framed()
        else:
            assert reply.headers["connection"] == "close"
    async with await house.connect() as client:
        await client.send(plain + b"\r\n" + smuggled)
        assert (await client.reply()).status == 200
        assert (await client.reply()).status == 400


async def test_ten_thousand_different_header_blocks_are_forgotten_one_by_one(
    house: House, upstream: FaultUpstream
) -> None:
    upstream.manifest(APP, "v1", raw := manifest())
    for _ in range(2):
        await house.get(manifest_path("v1"))
    fast_path = Watched(house)
    async with await house.connect() as client:
        for thousand in range(10):
            blocks = [
                f"GET {manifest_path('v1')} HTTP/1.1\r\nHost: a\r\nOdd: {thousand}-{n}\r\n\r\n" for n in range(1000)
            ]
            for start in range(0, 1000, 100):
                await client.send("".join(blocks[start : start + 100]).encode())
                for _ in range(100):
                    assert (await client.reply()).body == raw
    assert fast_path.answered == 10_000


async def test_every_reply_is_dated(house: House, upstream: FaultUpstream) -> None:
    upstream.manifest(APP, "v1", manifest())
    for _ in range(2):
        for path in (manifest_path("v1"), "/v2/_catalog", "/nowhere"):
            date = parsedate_to_datetime((await house.get(path)).headers["date"])
            assert abs(date.timestamp() - time.time()) < 10
