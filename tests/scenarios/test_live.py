"""What is under way, as operators are shown it."""

import asyncio
from collections.abc import Callable

from proxy.admin.live import LiveOperation
from proxy.admin.live_messages import LiveView
from proxy.admin.messages import NothingMore
from tests.cast import FaultUpstream, roles
from tests.scenarios.house import APP, NAME, House, MiB, blob_path

Bytes = Callable[[int], bytes]


async def seen(house: House) -> LiveView:
    operation = LiveOperation(house.cache, house.front, house.handler, house.access_log, lambda: 7)
    [view] = [line async for line in operation.live(NothingMore())]
    return view


async def test_a_fill_and_those_who_read_it_are_seen_with_their_progress(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, some_bytes(4 * MiB))
    assert (await seen(house)).fills == 0
    gate = asyncio.Event()
    upstream.plays("blob", roles.holds(2 * MiB, gate))
    async with await house.pull(blob_path(digest)) as one, await house.pull(blob_path(digest)) as two:
        for client in (one, two):
            await client.head()
            await client.received(MiB)
        view = await seen(house)
        [fill] = view.arriving
        assert (fill.digest, fill.repository_name, fill.size, fill.clients) == (digest, f"{NAME}/{APP}", 4 * MiB, 2)
        assert MiB <= fill.received <= 2 * MiB
        assert fill.origins == (NAME,)
        assert (view.requests, view.fills, view.connections, view.fetched) == (2, 1, 2, 7)
        for pull in view.pulls:
            assert (pull.client, pull.method, pull.kind, pull.reference) == ("127.0.0.1", "GET", "blob", digest)
            assert pull.length == 4 * MiB
            assert pull.outcome
        assert {pull.outcome for pull in view.pulls} == {"miss", "collapsed"}
        gate.set()
    await house.quiet()
    assert (await seen(house)).requests == (await seen(house)).fills == 0
