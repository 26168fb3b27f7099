"""One upstream that is slow, silent or asked by nobody any more holds up no other one."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from proxy.cache.fills import FillRules
from proxy.core.desertion import DesertionRules
from tests.cast import Act, FaultUpstream, roles
from tests.scenarios.client import Client
from tests.scenarios.conftest import under
from tests.scenarios.house import APP, AT_ONCE, House, MiB, blob_path

Bytes = Callable[[int], bytes]
OTHER = "other.test"
PLACES = 12  # fewer than a proxy has, since the cast runs in one loop with it
FILLS = FillRules(at_once=PLACES, intake=AT_ONCE)


@pytest.fixture
async def other(house: House, nothing_stays: None) -> AsyncIterator[FaultUpstream]:
    """A second upstream of the house."""
    async with FaultUpstream() as up:
        house.upstreams[OTHER] = up
        await house.restart()
        yield up


async def crowd(house: House, upstream: FaultUpstream, act: Act, size: int, some_bytes: Bytes) -> list[Client]:
    """As many pulls of blobs of one upstream as there are places, and as many again; all are met by ``act``."""
    upstream.always("blob", act)
    return [await house.pull(blob_path(upstream.blob(APP, some_bytes(size)))) for _ in range(2 * PLACES)]


async def is_served(house: House, other: FaultUpstream, some_bytes: Bytes, outcome: str, size: int = MiB) -> None:
    digest = other.blob(APP, blob := some_bytes(size))
    reply = await house.get(blob_path(digest, registry=OTHER))
    assert (reply.body, reply.headers["cache-status"]) == (blob, f"entrepot; fwd={outcome}")


@under(fills=FILLS)
async def test_requests_that_an_upstream_never_answers_hold_up_no_other_upstream(
    house: House, upstream: FaultUpstream, other: FaultUpstream, some_bytes: Bytes
) -> None:
    clients = await crowd(house, upstream, roles.silent, 1000, some_bytes)
    while len(upstream.requests("blob")) < PLACES:
        await asyncio.sleep(0.005)
    for _ in range(3):
        await is_served(house, other, some_bytes, "miss; stored")
    for client in clients:
        client.leave()
    await upstream.vanish()


@under(fills=FILLS)
async def test_answers_that_stop_after_their_heads_hold_up_no_other_upstream(
    house: House, upstream: FaultUpstream, other: FaultUpstream, some_bytes: Bytes
) -> None:
    clients = await crowd(house, upstream, roles.stalls(0), MiB, some_bytes)
    while len(house.cache.fills) < PLACES:
        await asyncio.sleep(0.005)
    for _ in range(3):
        await is_served(house, other, some_bytes, "miss; stored")
    for client in clients:
        client.leave()
    await upstream.vanish()


@under(fills=FILLS, soft=4 * MiB)
async def test_pass_throughs_that_stall_hold_up_no_other_upstream(
    house: House, upstream: FaultUpstream, other: FaultUpstream, some_bytes: Bytes
) -> None:
    clients = await crowd(house, upstream, roles.stalls(0), 3 * MiB, some_bytes)
    for client in clients:
        await client.head()
    await is_served(house, other, some_bytes, "bypass", 3 * MiB)
    for client in clients:
        client.leave()


@under(fills=FillRules(at_once=PLACES, intake=AT_ONCE, desertion=DesertionRules(window=0.2)))
async def test_fills_that_everybody_left_at_a_drip_give_way_to_whoever_waits(
    house: House, upstream: FaultUpstream, other: FaultUpstream, some_bytes: Bytes
) -> None:
    never = asyncio.Event()
    clients = await crowd(house, upstream, roles.drips(1000, never), 2 * MiB, some_bytes)
    while len(house.cache.fills) < PLACES:
        await asyncio.sleep(0.005)
    for client in clients:
        client.leave()
    await is_served(house, other, some_bytes, "miss; stored")
    upstream.forget_always()
    digest = upstream.blob(APP, blob := some_bytes(MiB))
    assert (await house.get(blob_path(digest))).body == blob  # of the same upstream, too
    assert house.cache.fills.stats.abandoned > 0
    never.set()


@under(fills=FillRules(at_once=1, intake=AT_ONCE, desertion=DesertionRules(window=0.05)))
async def test_a_fill_that_nobody_reads_and_nobody_wants_the_place_of_goes_on_however_slow(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(2 * MiB))
    upstream.plays("blob", roles.holds(MiB, gate := asyncio.Event()))
    client = await house.pull(blob_path(digest))
    await client.received(1000)
    client.leave()
    while not house.cache.fills.deserted.slow:
        await asyncio.sleep(0.005)
    gate.set()
    await house.quiet()
    assert (await house.get(blob_path(digest))).headers["cache-status"] == "entrepot; hit"
    assert len(blob) == 2 * MiB
