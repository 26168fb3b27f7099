"""What cannot be kept is fetched once all the same, for all who ask for it at the same time."""

import asyncio
from collections.abc import Callable

import pytest

from proxy.cache import pass_through
from proxy.cache.fills import Fills, Opened
from proxy.cache.holdings import Holdings
from proxy.core.names import Digest, Repository
from proxy.storage.contract import Content
from tests.cast import Act, FaultUpstream, Line, roles
from tests.scenarios.client import Client, Cut, Head
from tests.scenarios.conftest import under
from tests.scenarios.house import APP, House, MiB, blob_path
from tests.scenarios.invariants import fetches, stored

Bytes = Callable[[int], bytes]
SIZE = 24 * MiB

pytestmark = under(soft=16 * MiB)  # a blob above half of it is not kept


async def test_thirty_clients_of_a_blob_that_is_not_kept_cost_one_transfer(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pass_through, "_PATIENCE", 60.0)  # all of them run on one loop, which others may hold up
    digest = upstream.blob(APP, blob := some_bytes(12 * MiB))  # more than the window
    gate = asyncio.Event()
    upstream.plays("blob", roles.holds(MiB, gate))
    clients = [await house.pull(blob_path(digest)) for _ in range(30)]
    heads = [await client.head() for client in clients]
    assert {head.headers["cache-status"] for head in heads} == {"entrepot; fwd=bypass"}
    gate.set()
    bodies = await asyncio.gather(*(client.rest(head) for client, head in zip(clients, heads, strict=True)))
    assert all(body == blob for body in bodies)
    assert fetches(upstream, digest) == 1
    for client in clients:
        client.leave()
    assert stored(house.folder) == {}


async def test_one_who_stops_reading_holds_nobody_up_and_gets_the_rest_behind_a_transfer_of_its_own(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(SIZE))
    gate = asyncio.Event()
    upstream.plays("blob", roles.holds(MiB, gate))
    slow = await house.pull(blob_path(digest), buffer=4096)
    head = await slow.head()
    quick = [await house.pull(blob_path(digest)) for _ in range(3)]
    heads = [await client.head() for client in quick]
    gate.set()
    bodies = await asyncio.gather(*(client.rest(head) for client, head in zip(quick, heads, strict=True)))
    assert all(body == blob for body in bodies)
    assert fetches(upstream, digest) == 1
    async with slow:
        assert await slow.rest(head) == blob
    assert fetches(upstream, digest) == 2


async def test_whoever_comes_when_the_front_is_gone_begins_another(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(SIZE))
    async with await house.pull(blob_path(digest)) as first:
        head = await first.head()
        begun = await first.received(16 * MiB)
        assert (await house.get(blob_path(digest))).body == blob
        assert begun + await first.received(SIZE - 16 * MiB) == blob
        assert head.length == SIZE
    assert fetches(upstream, digest) == 2


async def test_wrong_bytes_cut_all_who_share_them_and_are_blamed_on_upstream(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pass_through, "_PATIENCE", 60.0)  # all of them run on one loop, which others may hold up
    digest = upstream.blob(APP, blob := some_bytes(SIZE))
    gate = asyncio.Event()
    upstream.plays("blob", roles.lies(0, roles.holds(MiB, gate)))
    clients = [await house.pull(blob_path(digest)) for _ in range(4)]
    heads = [await client.head() for client in clients]

    async def cut_after(client: Client, head: Head) -> int:
        with pytest.raises(Cut) as cut:
            await client.rest(head)
        return len(cut.value.body)

    gate.set()
    assert max(await asyncio.gather(*map(cut_after, clients, heads))) < SIZE
    is_good = (await house.get(blob_path(digest))).body == blob
    assert is_good, "it is asked for again at once"


async def test_a_transfer_that_broke_off_is_joined_by_nobody(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(SIZE))
    upstream.plays("blob", roles.ends_early(4 * MiB))
    async with await house.pull(blob_path(digest), buffer=4096) as slow:
        await slow.head()  # and reads no further, so that what came is still there
        with pytest.raises(Cut):
            await house.get(blob_path(digest))
        assert (await house.get(blob_path(digest))).body == blob
    assert fetches(upstream, digest) == 2


async def test_who_asks_in_the_very_step_in_which_another_repository_gets_it_is_not_given_it(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(SIZE))
    gate, waits, opened = asyncio.Event(), asyncio.Event(), asyncio.Event()
    upstream.plays("blob", behind(gate))
    get, open_ = Holdings.get, Fills.open

    async def get_late(holdings: Holdings, digest: Digest) -> Content | None:
        found = await get(holdings, digest)
        waits.set()
        await opened.wait()
        return found

    async def open_and_tell(fills: Fills, repository: Repository, digest: Digest) -> Opened:
        found = await open_(fills, repository, digest)
        opened.set()
        return found

    monkeypatch.setattr(Fills, "open", open_and_tell)
    async with await house.pull(blob_path(digest)) as theirs:
        while not upstream.requests("blob"):
            await asyncio.sleep(0.005)
        monkeypatch.setattr(Holdings, "get", get_late)
        async with await house.pull(blob_path(digest, "somebody/else")) as other:
            await waits.wait()
            gate.set()
            assert (await other.reply()).status == 404
        assert (await theirs.reply()).body == blob


async def test_a_good_end_makes_no_good_blob_of_a_beginning_that_nobody_proved(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pass_through, "_PATIENCE", 0.05)
    digest = upstream.blob(APP, blob := some_bytes(SIZE))
    upstream.plays("blob", roles.lies(0))
    async with await house.pull(blob_path(digest), buffer=4096) as slow:
        head = await slow.head()
        begun = await slow.received(1000)
        assert begun != blob[:1000]
        async with await house.pull(blob_path(digest)) as fast:
            await fast.head()
            await fast.received(16 * MiB)  # more than the window: the slow one has fallen behind
        with pytest.raises(Cut) as cut:
            await slow.rest(head._replace(headers={**head.headers, "content-length": str(SIZE - 1000)}))
    assert len(cut.value.body) < SIZE - 1000
    assert fetches(upstream, digest) == 2


async def test_the_last_who_leaves_ends_a_transfer_that_stalls(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, some_bytes(SIZE))
    upstream.plays("blob", roles.stalls(2 * MiB))
    clients = [await house.pull(blob_path(digest)) for _ in range(2)]
    for client in clients:
        await client.received(MiB)
    for client in clients:
        client.leave()
    await house.quiet()  # and nothing stays behind: no connection, no thread that waits for upstream


def behind(gate: asyncio.Event, then: Act = roles.steady) -> Act:
    """Nothing comes before the gate opens."""

    async def act(line: Line) -> None:
        await gate.wait()
        await then(line)

    return act
