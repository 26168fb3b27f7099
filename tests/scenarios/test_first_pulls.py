"""Hit, miss and join: one transfer from upstream, however many clients and whenever they come."""

import asyncio
from collections.abc import Callable

import pytest

from proxy.cache.fills import FillRules
from proxy.core.desertion import DesertionRules
from proxy.front.streams import SenderRules
from tests.cast import FaultUpstream, roles
from tests.scenarios.client import Client, Cut
from tests.scenarios.conftest import under
from tests.scenarios.house import APP, House, MiB, blob_path
from tests.scenarios.invariants import fetches, stored

Bytes = Callable[[int], bytes]


async def test_a_miss_is_fetched_once_and_then_a_hit(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    digest = upstream.blob(APP, blob := some_bytes(3 * MiB + 17))
    miss = await house.get(blob_path(digest))
    assert (miss.status, miss.body) == (200, blob)
    assert miss.headers["cache-status"] == "entrepot; fwd=miss; stored"
    assert miss.headers["docker-content-digest"] == digest
    assert miss.headers["content-length"] == str(len(blob))
    await house.quiet()
    hit = await house.get(blob_path(digest))
    assert (hit.body, hit.headers["cache-status"]) == (blob, "entrepot; hit")
    assert fetches(upstream, digest) == 1
    assert stored(house.folder) == {digest: len(blob)}


async def test_a_blob_of_sha512_is_cached_like_any_other(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(MiB), "sha512")
    assert (await house.get(blob_path(digest))).body == blob
    await house.quiet()
    assert (await house.get(blob_path(digest))).headers["cache-status"] == "entrepot; hit"


async def test_a_blob_without_bytes_is_a_blob(house: House, upstream: FaultUpstream) -> None:
    digest = upstream.blob(APP, b"")
    for status in ("entrepot; fwd=miss; stored", "entrepot; hit"):
        reply = await house.get(blob_path(digest), {"Range": "bytes=0-10"})
        assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", "0")
        assert reply.headers["cache-status"] == status
        await house.quiet()
    assert fetches(upstream, digest) == 1


async def test_a_second_client_joins_the_first_fill(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    digest = upstream.blob(APP, blob := some_bytes(3 * MiB))
    upstream.plays("blob", roles.holds(2 * MiB, gate := asyncio.Event()))
    async with await house.pull(blob_path(digest)) as first:
        assert (await first.head()).status == 200
        started = await first.received(MiB)
        async with await house.pull(blob_path(digest)) as second:
            joined = await second.head()
            assert joined.headers["cache-status"] == "entrepot; fwd=miss; collapsed"
            assert await second.received(MiB) == started  # from the start, while the rest has not left upstream
            gate.set()
            assert started + await first.received(2 * MiB) == blob
            assert started + await second.received(2 * MiB) == blob
            await first.still_framed()
            await second.still_framed()
    assert fetches(upstream, digest) == 1
    assert house.outcomes() == {"miss": 1, "collapsed": 1}


async def test_two_hundred_clients_of_a_cold_blob_cost_one_transfer(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(MiB))
    upstream.plays("blob", roles.holds(MiB // 2, gate := asyncio.Event()))
    clients = [await house.pull(blob_path(digest)) for _ in range(200)]
    heads = await asyncio.gather(*(client.head() for client in clients))
    gate.set()
    bodies = await asyncio.gather(*(client.rest(head) for client, head in zip(clients, heads, strict=True)))
    assert bodies == [blob] * 200
    assert fetches(upstream, digest) == 1
    await house.quiet()
    assert house.outcomes() == {"miss": 1, "collapsed": 199}
    for client in clients:
        client.leave()


async def test_the_first_client_leaves_and_the_others_complete(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(4 * MiB))
    upstream.plays("blob", roles.holds(2 * MiB, gate := asyncio.Event()))
    first = await house.pull(blob_path(digest))
    await first.head()
    await first.received(MiB)
    others = [await house.pull(blob_path(digest)) for _ in range(3)]
    for other in others:
        await other.head()
    first.leave()
    gate.set()
    assert [await other.received(len(blob)) for other in others] == [blob] * 3
    for other in others:
        await other.still_framed()
        other.leave()
    assert fetches(upstream, digest) == 1


async def test_a_fill_that_everybody_left_is_finished_where_little_is_left(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(2 * MiB))
    upstream.plays("blob", roles.holds(MiB, gate := asyncio.Event()))
    client = await house.pull(blob_path(digest))
    await client.head()
    client.leave()
    gate.set()
    await house.quiet()
    assert stored(house.folder) == {digest: len(blob)}
    assert (await house.get(blob_path(digest))).headers["cache-status"] == "entrepot; hit"


@under(fills=FillRules(desertion=DesertionRules(window=0.3, linger=0.3, worth=MiB)))
async def test_a_fill_that_everybody_left_is_dropped_where_most_is_to_come(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(6 * MiB))
    upstream.plays("blob", roles.drips(MiB, asyncio.Event()))
    client = await house.pull(blob_path(digest))
    await client.head()
    await client.received(MiB // 2)
    client.leave()
    await house.quiet()
    assert house.cache.fills.stats.abandoned == 1
    assert stored(house.folder) == {}
    assert (await house.get(blob_path(digest))).body == blob
    assert fetches(upstream, digest) == 2


async def test_a_slow_reader_does_not_slow_the_fill(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    digest = upstream.blob(APP, blob := some_bytes(16 * MiB))
    async with await house.pull(blob_path(digest), buffer=4096) as slow:
        head = await slow.head()
        while len(house.cache.fills):  # until it is whole and committed, while the reader has not begun
            await asyncio.sleep(0.01)
        assert stored(house.folder) == {digest: len(blob)}
        assert (await house.get(blob_path(digest))).headers["cache-status"] == "entrepot; hit"
        assert await slow.rest(head) == blob
        await slow.still_framed()


@under(sender=SenderRules(stall=0.3))
async def test_a_reader_that_never_reads_is_cut(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    digest = upstream.blob(APP, some_bytes(16 * MiB))
    client = await house.pull(blob_path(digest), buffer=4096)
    await client.head()
    while house.access_log.cut == 0:
        await asyncio.sleep(0.01)
    await house.quiet()
    with pytest.raises(Cut):
        await client.received(16 * MiB)
    client.leave()
    assert fetches(upstream, digest) == 1


async def test_many_clients_join_and_leave_at_any_time(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(4 * MiB))
    upstream.plays("blob", roles.holds(3 * MiB, gate := asyncio.Event()))
    staying: list[Client] = []
    for number in range(24):
        client = await house.pull(blob_path(digest))
        await client.head()
        await client.received(number * 100_000)
        if number % 3:
            client.leave()
        else:
            staying.append(client)
    gate.set()
    for number, client in enumerate(staying):
        assert await client.received(len(blob) - number * 300_000) == blob[number * 300_000 :]
        await client.still_framed()
        client.leave()
    assert fetches(upstream, digest) == 1


async def test_a_storm_of_head_requests_costs_one_request_and_no_transfer(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(8 * MiB))
    replies = await asyncio.gather(*(house.get(blob_path(digest), method="HEAD") for _ in range(50)))
    assert {(reply.status, reply.headers["content-length"]) for reply in replies} == {(200, str(len(blob)))}
    assert len(upstream.requests("blob")) == 1
    assert upstream.requests("blob")[0].sent <= 1
    assert stored(house.folder) == {}


async def test_head_of_an_arriving_and_of_a_held_blob_asks_nobody(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(2 * MiB))
    upstream.plays("blob", roles.holds(MiB, gate := asyncio.Event()))
    async with await house.pull(blob_path(digest)) as client:
        head = await client.head()
        arriving = await house.get(blob_path(digest), method="HEAD")
        assert arriving.headers["content-length"] == str(len(blob))
        gate.set()
        await client.rest(head)
    await house.quiet()
    held = await house.get(blob_path(digest), method="HEAD")
    assert (held.headers["content-length"], held.headers["cache-status"]) == (str(len(blob)), "entrepot; hit")
    assert len(upstream.requests("blob")) == 1


async def test_the_size_learned_by_head_does_not_stand_in_for_a_blob_that_is_gone(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, some_bytes(MiB))
    assert (await house.get(blob_path(digest), method="HEAD")).status == 200
    upstream.remove(f"/v2/{APP}/blobs/{digest}")
    assert (await house.get(blob_path(digest))).status == 404
    assert (await house.get(blob_path(digest), method="HEAD")).status == 404
