"""Upstream's limits and ours: who is told what, and when to come back."""

import asyncio
import contextlib
import json
from collections.abc import Callable

import pytest

from proxy.cache.fills import FillRules
from proxy.core.doors import PlaceRules
from proxy.core.names import Digest
from proxy.front.connections import ConnectionRules
from tests.cast import FaultUpstream, roles
from tests.scenarios.client import Client, Cut
from tests.scenarios.conftest import under
from tests.scenarios.house import APP, House, MiB, blob_path, manifest_path

Bytes = Callable[[int], bytes]


async def test_a_rate_limit_is_passed_on_with_its_patience(house: House, upstream: FaultUpstream) -> None:
    upstream.manifest(APP, "v1", b'{"schemaVersion":2,"config":{},"layers":[]}')
    upstream.plays("manifest", roles.limits("7"))
    reply = await house.get(manifest_path("v1"))
    assert (reply.status, reply.headers["retry-after"]) == (429, "7")
    assert json.loads(reply.body)["errors"][0]["code"] == "TOOMANYREQUESTS"
    house.clock.advance(5)
    assert (await house.get(manifest_path("v1"))).headers["retry-after"] == "2"  # and nobody asked
    assert len(upstream.ledger) == 1
    house.clock.advance(3)
    assert (await house.get(manifest_path("v1"))).status == 200


async def test_a_rate_limited_blob_is_told_so(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    digest = upstream.blob(APP, some_bytes(MiB))
    upstream.plays("blob", roles.limits("3"))
    reply = await house.get(blob_path(digest))
    assert (reply.status, reply.headers["retry-after"]) == (429, "3")


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_of_upstream_is_denied_here_and_never_a_challenge(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, status: int
) -> None:
    digest = upstream.blob(APP, some_bytes(MiB))
    upstream.always("blob", roles.refuses(status))
    upstream.always("manifest", roles.refuses(status))
    for path in (blob_path(digest), manifest_path("v1")):
        reply = await house.get(path)
        assert (reply.status, json.loads(reply.body)["errors"][0]["code"]) == (403, "DENIED")
        assert "www-authenticate" not in reply.headers


async def test_an_absent_blob_is_told_and_remembered(house: House, upstream: FaultUpstream) -> None:
    path = blob_path(Digest.of(b"nobody has it"))
    for _ in range(3):
        reply = await house.get(path)
        assert (reply.status, json.loads(reply.body)["errors"][0]["code"]) == (404, "BLOB_UNKNOWN")
    assert len(upstream.requests("blob")) == 1


async def test_an_upstream_that_is_down_is_an_outage(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    digest = upstream.blob(APP, some_bytes(MiB))
    upstream.always("blob", roles.closes_unanswered)
    reply = await house.get(blob_path(digest))
    assert (reply.status, json.loads(reply.body)["errors"][0]["code"]) == (502, "UNAVAILABLE")


@under(fills=FillRules(at_once=1, queue=1))
async def test_more_cold_blobs_than_the_queue_holds_are_told_to_come_back(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    blobs = [some_bytes(2 * MiB) for _ in range(3)]
    digests = [upstream.blob(APP, blob) for blob in blobs]
    upstream.plays("blob", roles.holds(MiB, gate := asyncio.Event()))
    async with await house.pull(blob_path(digests[0])) as first:
        head = await first.head()
        async with await house.pull(blob_path(digests[1])) as waiting:
            while house.handler.active < 2:
                await asyncio.sleep(0.005)
            await house.get("/v2/")  # by now it waits
            refused = await house.get(blob_path(digests[2]))
            assert (refused.status, json.loads(refused.body)["errors"][0]["code"]) == (503, "UNAVAILABLE")
            assert int(refused.headers["retry-after"]) >= 1
            async with await house.pull(blob_path(digests[0])) as joined:  # needs no place of its own
                assert (await joined.head()).status == 200
            gate.set()
            assert await first.rest(head) == blobs[0]
            assert (await waiting.reply()).body == blobs[1]
    assert (await house.get(blob_path(digests[2]))).body == blobs[2]


@under(fills=FillRules(at_once=1, queue=0))
async def test_without_a_queue_a_free_place_still_serves(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(MiB))
    assert (await house.get(blob_path(digest))).body == blob


@under(connections=ConnectionRules(PlaceRules(3, 256)))
async def test_more_connections_than_allowed_are_told_503(house: House) -> None:
    clients = [await house.connect() for _ in range(3)]
    for client in clients:
        await client.still_framed()
    refused = await house.connect()
    reply = await refused.reply()
    assert (reply.status, reply.headers["connection"]) == (503, "close")
    assert json.loads(reply.body)["errors"][0]["code"] == "UNAVAILABLE"
    assert await refused.until_closed() == b""
    refused.leave()
    assert (len(house.front.connections), house.front.refused) == (3, 1)
    clients[0].leave()
    await house.connected(2)
    again = await house.connect()
    await again.still_framed()
    for client in (*clients, again):
        client.leave()
    await house.connected(0)


@under(connections=ConnectionRules(PlaceRules(4096, 2)))
async def test_one_address_cannot_take_all_places(house: House) -> None:
    clients = [await house.connect() for _ in range(2)]
    for client in clients:
        await client.still_framed()
    async with await house.connect() as refused:
        assert (await refused.reply()).status == 503
    for client in clients:
        client.leave()


@under(connections=ConnectionRules(header_timeout=0.2))
async def test_half_a_request_is_not_waited_for_for_long(house: House) -> None:
    halves: list[Client] = []
    for octets in (b"", b"GET /v2/ HT", b"GET /v2/ HTTP/1.1\r\nHost: x\r\n", b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: "):
        halves.append(await house.connect())
        await halves[-1].send(octets)
    await house.connected(len(halves))
    house.clock.advance(1)
    for half in halves:
        with contextlib.suppress(Cut):
            assert b" 200 " not in await half.until_closed()
        half.leave()
    await house.connected(0)


@under(connections=ConnectionRules(header_timeout=0.2, idle_timeout=0.4))
async def test_an_idle_connection_is_closed_in_silence(house: House) -> None:
    async with await house.connect() as client:
        await client.still_framed()
        house.clock.advance(1)
        assert await client.until_closed() == b""
    async with await house.pull(f"{manifest_path('v1')}") as client:  # by the full path
        assert (await client.reply()).status == 404
        await house.quiet()
        house.clock.advance(1)
        assert await client.until_closed() == b""
