"""The byte budget and full disks: never more than allowed, and a pull works whatever there is no room for."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.cache.fills import FillRules
from proxy.cache.room import FIRST_STEP
from proxy.core.budget import ByteLimits, FreeSpaceRule
from tests.cast import FaultUpstream, Line, ManualClock, roles
from tests.cast.line import Act
from tests.scenarios.client import Cut
from tests.scenarios.conftest import under
from tests.scenarios.house import APP, NAME, House, HouseRules, MiB, blob_path
from tests.scenarios.invariants import disk_bound, ends_well, fetches, stored

Bytes = Callable[[int], bytes]


@under(soft=10 * MiB)
async def test_the_least_recently_used_go_and_the_hard_limit_holds_at_every_moment(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digests = [upstream.blob(APP, some_bytes(MiB)) for _ in range(30)]
    async with disk_bound(house):
        for digest in digests:
            house.clock.advance(1)
            assert (await house.get(blob_path(digest))).status == 200
            assert (await house.get(blob_path(digests[0]))).status == 200  # used again and again
            await house.quiet()
    kept = stored(house.folder)
    assert digests[0] in kept
    assert digests[-1] in kept
    assert digests[1] not in kept
    assert sum(kept.values()) <= 10 * MiB
    assert fetches(upstream, digests[0]) == 1


@under(soft=20 * MiB)
async def test_pulls_at_the_same_time_evict_no_more_than_they_need(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    for _ in range(19):
        house.clock.advance(1)
        await house.get(blob_path(upstream.blob(APP, some_bytes(MiB))))
    await house.quiet()
    fresh = [upstream.blob(APP, some_bytes(MiB)) for _ in range(8)]
    async with disk_bound(house):
        replies = await asyncio.gather(*(house.get(blob_path(digest)) for digest in fresh))
    assert {reply.status for reply in replies} == {200}
    await house.quiet()
    assert sum(stored(house.folder).values()) >= 14 * MiB


@under(soft=16 * MiB)
async def test_a_reader_of_an_evicted_blob_finishes(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    digest = upstream.blob(APP, blob := some_bytes(8 * MiB))
    await house.get(blob_path(digest))
    await house.quiet()
    async with await house.pull(blob_path(digest), buffer=4096) as reader:
        head = await reader.head()
        assert head.headers["cache-status"] == "entrepot; hit"
        await house.cache.space.evict(MiB)
        (house.folder / "blobs" / "sha256" / digest.encoded[:2] / digest.encoded).unlink()  # whoever else removes it
        assert await reader.rest(head) == blob
        await reader.still_framed()
    await house.quiet()
    assert (await house.get(blob_path(digest))).body == blob  # a miss again


@asynccontextmanager
async def sixteen_in_use(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> AsyncIterator[None]:
    """MiB, that readers are at: nothing of it can go."""
    used = [upstream.blob(APP, some_bytes(8 * MiB)) for _ in range(2)]
    for digest in used:
        await house.get(blob_path(digest))
    await house.quiet()
    readers = [await house.pull(blob_path(digest), buffer=4096) for digest in used]
    heads = [await reader.head() for reader in readers]
    yield
    for reader, head in zip(readers, heads, strict=True):
        assert len(await reader.rest(head)) == 8 * MiB
        reader.leave()


@under(soft=16 * MiB)  # and a twentieth more that is never exceeded
async def test_where_everything_is_in_use_or_set_aside_pulls_pass_through(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    gate = asyncio.Event()
    async with sixteen_in_use(house, upstream, some_bytes), disk_bound(house):
        arriving = upstream.blob(APP, first := some_bytes(700 << 10))
        upstream.plays("blob", roles.holds(600 << 10, gate))
        async with await house.pull(blob_path(arriving)) as client:
            while house.cache.holdings.budget.reserved < len(first):
                await asyncio.sleep(0.005)
            other = upstream.blob(APP, blob := some_bytes(MiB))
            passed = await house.get(blob_path(other))
            assert (passed.body, passed.headers["cache-status"]) == (blob, "entrepot; fwd=bypass")
            gate.set()
            assert (await client.reply()).body == first
    await house.quiet()
    assert (await house.get(blob_path(other))).headers["cache-status"] == "entrepot; fwd=miss; stored"


@under(soft=16 * MiB)
async def test_a_blob_for_which_the_room_runs_out_on_the_way_reaches_its_clients_whole(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    async with sixteen_in_use(house, upstream, some_bytes), disk_bound(house):
        digest = upstream.blob(APP, blob := some_bytes(6 * MiB))
        replies = await asyncio.gather(*(house.get(blob_path(digest)) for _ in range(3)))
        assert all(reply.body == blob for reply in replies)
        assert house.cache.fills.stats.spilled == 1
    await house.quiet()
    assert digest not in stored(house.folder)


@under(soft=40 * MiB)
async def test_a_length_that_is_only_announced_drives_nothing_out_and_is_not_set_aside(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    held = [upstream.blob(APP, some_bytes(4 * MiB)) for _ in range(9)]
    for digest in held:
        await house.get(blob_path(digest))
    await house.quiet()
    claims, gate = [upstream.blob(APP, some_bytes(6 * MiB)) for _ in range(8)], asyncio.Event()
    upstream.plays("blob", *(roles.holds(0, gate) for _ in claims))
    clients = [await house.pull(blob_path(digest)) for digest in claims]
    assert [(await client.head()).length for client in clients] == [6 * MiB] * 8
    budget = house.cache.holdings.budget
    assert (budget.reserved, budget.reserved_by[NAME]) == (8 * FIRST_STEP, 8 * FIRST_STEP)
    assert set(stored(house.folder)) == set(held)
    gate.set()
    for client in clients:
        assert len(await client.received(6 * MiB)) == 6 * MiB
        client.leave()


@under(soft=40 * MiB)
async def test_what_is_set_aside_counts_in_the_share_of_an_upstream(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    house.shares[NAME] = ByteLimits(8 * MiB)
    gate = asyncio.Event()
    arriving = [(upstream.blob(APP, blob), blob) for blob in (some_bytes(4 * MiB) for _ in range(4))]
    upstream.plays("blob", *(roles.holds(3 * MiB, gate) for _ in arriving))
    clients = [await house.pull(blob_path(digest)) for digest, _ in arriving]
    heads = [await client.head() for client in clients]
    async with asyncio.timeout(20):
        while house.cache.fills.stats.spilled < 2:
            await asyncio.sleep(0.005)
            assert house.cache.holdings.budget.used_by(NAME) <= house.shares[NAME].hard
    gate.set()
    for client, head, (_, blob) in zip(clients, heads, arriving, strict=True):
        assert await client.rest(head) == blob
        client.leave()


@under(soft=4 * MiB)
async def test_a_blob_above_the_largest_share_passes_through_whole_even_where_a_part_is_asked_for(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    small = upstream.blob(APP, some_bytes(MiB))
    await house.get(blob_path(small))
    digest = upstream.blob(APP, blob := some_bytes(3 * MiB))
    for headers in ({}, {"Range": "bytes=0-10"}):
        reply = await house.get(blob_path(digest), headers)
        assert (reply.status, reply.body, reply.headers["cache-status"]) == (200, blob, "entrepot; fwd=bypass")
    assert fetches(upstream, digest) == 2
    await house.quiet()
    assert set(stored(house.folder)) == {small}  # nothing had to go for it


@under(soft=4 * MiB)
async def test_what_passes_through_is_proven_too(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    digest = upstream.blob(APP, some_bytes(3 * MiB))
    upstream.plays("blob", roles.lies(3 * MiB - 1))
    async with await house.pull(blob_path(digest)) as client:
        with pytest.raises(Cut):
            await client.reply()


@under(soft=40 * MiB)
async def test_a_blob_of_unknown_length_drives_nothing_out_that_it_cannot_replace(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    held = upstream.blob(APP, some_bytes(MiB))
    await house.get(blob_path(held))
    await house.quiet()
    digest = upstream.blob(APP, blob := some_bytes(2 * MiB))
    upstream.plays("blob", roles.chunked(50_000))
    async with disk_bound(house):
        assert (await house.get(blob_path(digest))).body == blob
    await house.quiet()
    assert held in stored(house.folder)


@under(fills=FillRules(largest=MiB))
async def test_a_blob_of_unknown_length_is_not_kept_when_it_turns_out_too_large(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(3 * MiB))
    upstream.always("blob", roles.chunked(50_000))
    assert (await house.get(blob_path(digest))).body == blob
    await house.quiet()
    assert stored(house.folder) == {}


@under(free=FreeSpaceRule(1 << 60, 0.0))
async def test_below_the_free_space_of_the_disk_pulls_pass_through(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(MiB))
    manifest = upstream.manifest(APP, "v1", b'{"schemaVersion":2,"config":{},"layers":[]}')
    assert (await house.get(blob_path(digest))).body == blob
    reply = await house.get(f"/v2/registry.test/{APP}/manifests/v1")
    assert (reply.status, reply.headers["docker-content-digest"]) == (200, manifest)
    assert reply.headers["cache-status"] == "entrepot; fwd=bypass"


# ------------------------------------------------------------ a disk that fills up


@pytest.fixture
async def small_disk(tmp_path: Path) -> AsyncIterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
async def cramped(small_disk: Path, upstream: FaultUpstream, clock: ManualClock) -> AsyncIterator[House]:
    house = House(small_disk / "cache", upstream, HouseRules(), clock)
    await house.start()
    yield house
    (small_disk / "other").unlink(missing_ok=True)
    await ends_well(house)


def _fill_up(disk: Path, leave: int) -> None:
    """Piece by piece, since the fill may still take some of the room meanwhile."""
    piece = bytes(64 << 10)
    with (disk / "other").open("ab", buffering=0) as other:
        while (free := os.statvfs(disk)).f_bavail * free.f_frsize > leave + len(piece):
            other.write(piece)


@pytest.mark.parametrize("measured", [True, False], ids=["of known length", "of unknown length"])
async def test_a_disk_that_fills_up_during_a_fill_costs_no_reader_a_byte(
    cramped: House, small_disk: Path, upstream: FaultUpstream, some_bytes: Bytes, measured: bool
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(8 * MiB))
    gate = asyncio.Event()
    upstream.plays("blob", roles.holds(2 * MiB, gate) if measured else _chunks_behind(gate))
    clients = [await cramped.pull(blob_path(digest)) for _ in range(3)]
    heads = [await client.head() for client in clients]
    ranged = await cramped.pull(blob_path(digest), {"Range": f"bytes={7 * MiB}-"}) if measured else None
    while cramped.cache.fills.arriving.get(digest) is None or cramped.cache.fills.arriving.get(digest).received < MiB:  # type: ignore[union-attr]
        await asyncio.sleep(0.005)
    _fill_up(small_disk, MiB)
    gate.set()
    for client, head in zip(clients, heads, strict=True):
        assert await client.rest(head) == blob
        await client.still_framed()
        client.leave()
    if ranged is not None:
        assert (await ranged.reply()).body == blob[7 * MiB :]
        ranged.leave()
    assert cramped.cache.fills.stats.spilled == 1
    await cramped.quiet()
    assert stored(cramped.folder) == {}
    (small_disk / "other").unlink()
    assert (await cramped.get(blob_path(digest))).body == blob
    await cramped.quiet()
    assert stored(cramped.folder) == {digest: len(blob)}


async def test_readers_of_a_spilled_fill_of_unknown_length_get_what_has_come(
    cramped: House, small_disk: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    """And do not wait for the end, with the rest of the blob in memory."""
    digest = upstream.blob(APP, blob := some_bytes(8 * MiB))
    gate, end = asyncio.Event(), asyncio.Event()
    upstream.plays("blob", _chunks_behind(gate), _chunks_behind(end, 70))
    async with await cramped.pull(blob_path(digest)) as client:
        head = await client.head()
        while (fill := cramped.cache.fills.arriving.get(digest)) is None or fill.received < MiB:
            await asyncio.sleep(0.005)
        _fill_up(small_disk, MiB)
        gate.set()
        received = await client.chunks(6 * MiB)  # upstream has sent 7 MB, and holds the rest
        end.set()
        assert received + await client.rest(head) == blob


def _chunks_behind(gate: asyncio.Event, count: int = 20) -> Act:
    async def act(line: Line) -> None:
        body = line.content.body
        await line.head(200, {**line.content.headers, "Transfer-Encoding": "chunked"})
        for number, start in enumerate(range(0, len(body), 100_000)):
            if number == count:
                await gate.wait()
            piece = body[start : start + 100_000]
            await line.body(b"%x\r\n%s\r\n" % (len(piece), piece))
        await line.body(b"0\r\n\r\n")

    return act
