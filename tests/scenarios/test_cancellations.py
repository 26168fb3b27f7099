"""Stopped in the middle, at many points: the cache is consistent, and what it says of itself is true."""

import asyncio
import random
from collections.abc import Callable

import pytest

from tests.cast import FaultUpstream, Line, roles
from tests.scenarios.client import Cut
from tests.scenarios.house import APP, House, MiB, blob_path, manifest_path
from tests.scenarios.invariants import index_is_disk, known_to, stored

Bytes = Callable[[int], bytes]
RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'


async def consistent(house: House) -> None:
    """Nothing half-born is left, everything held is what it says, and nothing is promised that is not there. What is
    there and not known yet is found again behind the start."""
    await house.stop()
    assert list((house.folder / "ingest").iterdir()) == []
    on_disk = stored(house.folder)
    await house.start()
    async with asyncio.timeout(20):
        while (known := await known_to(house)) != on_disk:
            assert known.items() <= on_disk.items()
            await asyncio.sleep(0.01)
    await index_is_disk(house)


async def test_a_stop_in_the_middle_of_a_fill_leaves_nothing_half_born(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(4 * MiB))
    upstream.plays("blob", roles.stalls(2 * MiB))
    clients = [await house.pull(blob_path(digest)) for _ in range(3)]
    for client in clients:
        await client.head()
        await client.received(MiB)
    await consistent(house)
    for client in clients:
        with pytest.raises(Cut):
            await client.received(3 * MiB)
        client.leave()
    assert stored(house.folder) == {}
    assert (await house.get(blob_path(digest))).body == blob


@pytest.mark.parametrize("seed", range(6))
async def test_a_stop_at_any_moment_leaves_the_cache_consistent(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, seed: int
) -> None:
    chance = random.Random(seed)
    digests = [upstream.blob(APP, some_bytes(MiB)) for _ in range(4)]
    small = upstream.blob(APP, some_bytes(900))
    upstream.manifest(APP, "v1", RAW)
    paths = [*(blob_path(digest) for digest in digests), blob_path(small), manifest_path("v1")]
    clients = [await house.pull(path) for path in paths * 2]
    for _ in range(chance.randrange(60)):
        await asyncio.sleep(0)
    await asyncio.sleep(chance.random() * 0.03)
    await consistent(house)
    for client in clients:
        client.leave()
    for path in paths:
        assert (await house.get(path)).status == 200


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8, 13, 21, 34, 55, 89])
async def test_a_handler_that_is_cancelled_takes_nothing_with_it(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, steps: int
) -> None:
    """The turns of the loop between the request and the cancellation decide what it is cancelled in."""
    digest = upstream.blob(APP, blob := some_bytes(3 * MiB))
    before = asyncio.all_tasks()
    client = await house.pull(blob_path(digest), buffer=4096)
    while not (handlers := _handlers(before)):
        await asyncio.sleep(0)
    for _ in range(steps):
        await asyncio.sleep(0)
    for handler in handlers:
        handler.cancel()
    with pytest.raises(Cut):
        await client.rest(await client.head())
    client.leave()
    assert (await house.get(blob_path(digest))).body == blob
    await house.quiet()
    assert stored(house.folder) == {digest: len(blob)}
    assert house.cache.holdings.is_open(digest) is False


def _handlers(before: set[asyncio.Task[object]]) -> list[asyncio.Task[object]]:
    new = asyncio.all_tasks() - before - {asyncio.current_task()}
    return [task for task in new if task is not None and "Connection._respond" in repr(task.get_coro())]


async def test_a_client_that_leaves_a_hit_gives_the_file_back(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, some_bytes(16 * MiB))
    await house.get(blob_path(digest))
    await house.quiet()
    for count in (0, 1000, MiB):
        client = await house.pull(blob_path(digest), buffer=4096)
        await client.head()
        await client.received(count)
        client.leave()
    await house.quiet()
    assert house.cache.holdings.is_open(digest) is False


async def test_clients_that_leave_before_the_first_answer_cost_one_fill(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(MiB))
    gate = asyncio.Event()

    async def slow(line: Line) -> None:
        await gate.wait()
        await roles.steady(line)

    upstream.plays("blob", slow)
    for _ in range(10):
        client = await house.pull(blob_path(digest))
        await asyncio.sleep(0.01)
        client.leave()
    gate.set()
    await house.quiet()
    assert (await house.get(blob_path(digest))).body == blob
    assert len(upstream.requests("blob")) == 1


async def test_what_was_sent_to_its_end_is_kept_by_a_stop_right_behind_it(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    for _ in range(4):
        digests = [upstream.blob(APP, some_bytes(2 * MiB)) for _ in range(12)]
        replies = await asyncio.gather(*(house.get(blob_path(digest)) for digest in digests))
        assert {(reply.status, len(reply.body)) for reply in replies} == {(200, 2 * MiB)}
        await house.stop()
        assert set(digests) <= set(stored(house.folder))
        await house.start()
        asked = len(upstream.ledger)
        assert {(await house.get(blob_path(digest))).headers["cache-status"] for digest in digests} == {"entrepot; hit"}
        assert len(upstream.ledger) == asked, "who may have it is known too"
