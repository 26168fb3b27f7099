"""Upstream lies, dies, stalls or changes its mind in the middle of a blob."""

import asyncio
from collections.abc import Callable

import pytest

from proxy.cache.fills import FillRules
from proxy.cache.intake import IntakeRules
from proxy.core.backoff import Backoff
from proxy.upstream.settings import ExchangeLimits
from tests.cast import FaultUpstream, ManualClock, roles
from tests.cast.line import Act, Line, Seen
from tests.scenarios.client import Client, Cut
from tests.scenarios.conftest import under
from tests.scenarios.house import APP, House, MiB, blob_path
from tests.scenarios.invariants import fetches, stored

Bytes = Callable[[int], bytes]
SIZE = 2 * MiB
SMALL = 40_000
SHORT_PATIENCE = ExchangeLimits(stall=0.3)


def first_byte(seen: Seen) -> int:
    return int(seen.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])


async def in_vain(client: Client) -> bytes:
    """What comes of a body that is cut; nothing where upstream's lie was known before the head was sent."""
    try:
        assert (await client.reply()).status == 502
    except Cut as cut:
        return cut.body
    return b""


@pytest.mark.parametrize("wrong", [0, SIZE // 2, SIZE - 1], ids=["first byte", "in the middle", "last byte"])
async def test_nobody_completes_a_blob_with_a_wrong_byte(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, wrong: int
) -> None:
    digest, gate = upstream.blob(APP, blob := some_bytes(SIZE)), asyncio.Event()
    upstream.plays("blob", roles.lies(wrong, roles.holds(SIZE - 1, gate)))
    clients = [await house.pull(blob_path(digest)) for _ in range(5)]
    heads = [await client.head() for client in clients]  # all follow it before its end is there
    await clients[0].received(1)
    gate.set()
    for client, head in zip(clients[1:], heads[1:], strict=True):
        with pytest.raises(Cut) as cut:
            await client.rest(head)
        assert len(cut.value.body) < SIZE
        client.leave()
    await house.quiet()
    assert stored(house.folder) == {}
    assert house.cache.fills.stats.wrong_digests == 1

    assert (await house.get(blob_path(digest))).body == blob, "it is asked for again at once"
    first, second = upstream.requests("blob")
    assert first.connection != second.connection


async def test_wrong_bytes_that_nobody_was_shown_are_asked_for_once_more_within_the_pull(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(SMALL))
    upstream.plays("blob", roles.lies(0))
    assert (await house.get(blob_path(digest))).body == blob
    first, second = upstream.requests("blob")
    assert first.connection != second.connection
    await house.quiet()
    assert set(stored(house.folder)) == {digest}
    assert (await house.get(blob_path(digest))).body == blob
    assert fetches(upstream, digest) == 2


async def test_an_upstream_that_goes_on_lying_is_asked_after_pauses_that_grow(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest, other = upstream.blob(APP, blob := some_bytes(SMALL)), upstream.blob(APP, some_bytes(SMALL))
    upstream.plays("blob", *[roles.lies(0)] * 12)
    asked = 1
    for pause in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0):
        async with await house.pull(blob_path(digest)) as client:
            assert await in_vain(client) == b""
        asked += 1
        assert fetches(upstream, digest) == asked
        house.clock.advance(pause - 0.5)
        told = await house.get(blob_path(digest))
        assert (told.status, fetches(upstream, digest)) == (502, asked)
        assert b"wrong bytes" in told.body
        house.clock.advance(0.5)
    assert (await house.get(blob_path(other))).status == 200, "the pause is the digest's alone"
    await house.quiet()
    assert stored(house.folder).keys() == {other}
    assert (await house.get(blob_path(digest))).body == blob


async def test_a_lie_about_an_unmeasured_blob_is_cut_too(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(SIZE))

    async def lies_in_chunks(line: Line) -> None:
        line.content.body = b"\0" + blob[1:]
        await roles.chunked(10_000)(line)
        line.content.body = blob

    upstream.plays("blob", lies_in_chunks)
    async with await house.pull(blob_path(digest)) as client:
        await in_vain(client)
    await house.quiet()
    assert stored(house.folder) == {}


@pytest.mark.parametrize("role", [roles.vanishes, roles.ends_early], ids=["RST", "FIN"])
async def test_a_lost_transfer_is_resumed_and_the_client_never_notices(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, role: Callable[[int], Act]
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(SIZE))
    upstream.plays("blob", role(MiB), role(MiB // 2))
    reply = await house.get(blob_path(digest))
    assert (reply.status, reply.body) == (200, blob)
    first, *again = upstream.requests("blob")
    assert "range" not in first.headers
    assert again
    assert all(0 < first_byte(seen) <= MiB + MiB // 2 for seen in again)
    await house.quiet()
    assert stored(house.folder) == {digest: SIZE}


@under(upstream=SHORT_PATIENCE)
async def test_a_stalled_transfer_is_resumed(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    digest = upstream.blob(APP, blob := some_bytes(SIZE))
    upstream.plays("blob", roles.stalls(MiB))
    assert (await house.get(blob_path(digest))).body == blob
    assert [first_byte(seen) for seen in upstream.requests("blob")] == [0, MiB]


async def test_an_upstream_that_ignores_the_range_of_a_resume_sends_no_byte_twice(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(SIZE))
    upstream.plays("blob", roles.ends_early(MiB), roles.ignores_range)
    assert (await house.get(blob_path(digest))).body == blob
    assert len(upstream.requests("blob")) == 2


async def test_an_upstream_that_dies_for_good_ends_the_reply_short(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, some_bytes(SIZE))
    upstream.plays("blob", roles.ends_early(MiB))
    upstream.always("blob", roles.fails(503))
    async with await house.pull(blob_path(digest)) as client:
        assert len(await in_vain(client)) <= MiB
    await house.quiet()
    assert stored(house.folder) == {}


async def test_two_versions_of_a_blob_are_never_spliced(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(SIZE))

    async def longer(line: Line) -> None:
        line.content.body = blob + b"more"
        await roles.steady(line)
        line.content.body = blob

    upstream.plays("blob", roles.ends_early(MiB), longer)
    assert (await house.get(blob_path(digest))).body == blob, "asked once more, it spoke of the same bytes again"
    assert upstream.unplayed == 0

    other = upstream.blob(APP, blob := some_bytes(SIZE))
    upstream.plays("blob", roles.ends_early(MiB), longer, longer, longer)
    async with await house.pull(blob_path(other)) as client:
        await in_vain(client)
    await house.quiet()
    assert set(stored(house.folder)) == {digest}


async def test_other_bytes_of_the_same_size_on_resume_are_found_out(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, some_bytes(SIZE))
    upstream.plays("blob", roles.ends_early(MiB), roles.lies(SIZE - MiB // 2))
    async with await house.pull(blob_path(digest)) as client:
        await in_vain(client)
    await house.quiet()
    assert stored(house.folder) == {}


@pytest.mark.parametrize("role", [roles.chunked(40_000), roles.unmeasured()], ids=["chunked", "until closed"])
async def test_a_blob_of_unknown_length_is_whole_and_verified(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, role: Act
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(SIZE))
    upstream.plays("blob", role)
    reply = await house.get(blob_path(digest))
    assert (reply.status, reply.body) == (200, blob)
    assert "content-length" not in reply.headers
    await house.quiet()
    assert stored(house.folder) == {digest: SIZE}
    assert (await house.get(blob_path(digest))).headers["content-length"] == str(SIZE)


async def test_an_old_client_gets_a_blob_of_unknown_length_until_the_connection_ends(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(SIZE))
    upstream.plays("blob", roles.chunked(40_000))
    async with await house.connect() as client:
        await client.send(f"GET {blob_path(digest)} HTTP/1.0\r\n\r\n".encode())
        head = await client.head()
        assert "transfer-encoding" not in head.headers
        assert head.headers["connection"] == "close"
        assert await client.until_closed() == blob


@pytest.mark.parametrize("role", [roles.chunked(40_000, 20), roles.unmeasured(MiB)], ids=["chunked", "until closed"])
async def test_an_unmeasured_blob_that_ends_early_is_never_called_whole(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, role: Act
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(SIZE))
    upstream.plays("blob", role)
    async with await house.pull(blob_path(digest)) as client:
        try:
            reply = await client.reply()
            assert reply.status == 502 or reply.body == blob  # known before the head was sent, or resumed
        except Cut:
            assert stored(house.folder) == {}
    await house.quiet()
    assert set(stored(house.folder)) <= {digest}


async def test_clients_that_join_while_upstream_is_being_resumed_get_all_of_it(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(SIZE))
    gate = asyncio.Event()

    async def slow_to_answer(line: Line) -> None:
        await gate.wait()
        await roles.steady(line)

    upstream.plays("blob", roles.ends_early(MiB), slow_to_answer)
    async with await house.pull(blob_path(digest)) as first:
        head = await first.head()
        while len(upstream.requests("blob")) < 2:
            await asyncio.sleep(0.005)
        async with await house.pull(blob_path(digest)) as second:
            await second.head()
            gate.set()
            assert await first.rest(head) == await second.rest(head) == blob


@under(fills=FillRules(intake=IntakeRules(patience=3600.0, pauses=Backoff(0.0, 0.0))))
async def test_while_upstream_is_away_what_came_is_served_and_the_rest_once_it_is_back(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes
) -> None:
    """Each try by itself fails in no time, and they are many more than are made without patience."""
    digest = upstream.blob(APP, blob := some_bytes(SIZE))
    upstream.plays("blob", roles.ends_early(MiB))
    upstream.always("blob", roles.fails(503))

    async def time_goes_by() -> None:
        while True:
            clock.advance(1.0)
            await asyncio.sleep(0.001)

    passing = asyncio.create_task(time_goes_by())
    async with await house.pull(blob_path(digest)) as first:
        await first.head()
        assert await first.received(MiB // 2) == blob[: MiB // 2]
        while len(upstream.requests("blob")) < 20:
            await asyncio.sleep(0.005)
        async with await house.pull(blob_path(digest)) as second:
            await second.head()
            assert await second.received(MiB // 2) == blob[: MiB // 2]
            upstream.forget_always()
            for each in (first, second):
                assert await each.received(SIZE - MiB // 2) == blob[MiB // 2 :]
    passing.cancel()
