"""A large cold blob over several ranged transfers.

The first transfer stands still behind a gate, so that the others do what they do before the scene goes on.
"""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.cache.fill import Fill
from proxy.cache.fills import FillRules
from proxy.core.transfer_plan import TransferRules
from proxy.upstream.settings import ExchangeLimits
from tests.cast import Act, FaultUpstream, ManualClock, Seen, roles
from tests.scenarios.client import Client, Cut
from tests.scenarios.conftest import under
from tests.scenarios.house import APP, AT_ONCE, House, HouseRules, MiB, blob_path
from tests.scenarios.invariants import ends_well, stored

Bytes = Callable[[int], bytes]
SIZE = 16 * MiB
PART = 3 * MiB // 2  # more than one read
HELD_AT = 100_000

# More transfers whenever there is something left to share.
EAGER = TransferRules(smallest=MiB, soon=0.0, least_part=PART, largest_part=PART, window=0.01, idle=0.0, gain=0.0)
PARALLEL = {"fills": FillRules(intake=replace(AT_ONCE, transfers=EAGER))}
parallel = under(**PARALLEL)
parallel_and_impatient = under(**PARALLEL, upstream=ExchangeLimits(stall=0.3))


class Scene:
    """One cold blob whose first transfer waits at a gate."""

    def __init__(self, house: House, upstream: FaultUpstream, blob: bytes) -> None:
        self.house = house
        self.upstream = upstream
        self.blob = blob
        self.digest = upstream.blob(APP, blob)
        self.gate = asyncio.Event()

    async def begin(self, *then: Act) -> Client:
        """A client that has asked; the requests after the first are answered as told."""
        self.upstream.plays("blob", roles.holds(HELD_AT, self.gate), *then)
        return await self.house.pull(blob_path(self.digest))

    async def fill(self) -> Fill:
        async with asyncio.timeout(20):
            while (fill := self.house.cache.fills.arriving.get(self.digest)) is None:
                await asyncio.sleep(0.005)
        return fill

    async def received(self, count: int) -> None:
        fill = await self.fill()
        async with asyncio.timeout(20):
            while fill.received < count and not fill.settled:
                await asyncio.sleep(0.005)

    async def rest_is_there(self) -> None:
        """Everything but the part of the first transfer."""
        await self.received(SIZE - PART)

    async def asked(self, times: int) -> None:
        async with asyncio.timeout(20):
            while len(self.upstream.requests("blob")) < times:
                await asyncio.sleep(0.005)


@pytest.fixture
def scene(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> Scene:
    return Scene(house, upstream, some_bytes(SIZE))


def span(seen: Seen) -> tuple[int, int]:
    start, _, last = seen.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
    return int(start), int(last) + 1 if last else SIZE


@parallel
async def test_a_large_blob_comes_over_several_transfers_each_byte_once(scene: Scene) -> None:
    async with await scene.begin() as client:
        await scene.rest_is_there()
        scene.gate.set()
        assert (await client.reply()).body == scene.blob
    await scene.house.quiet()
    assert stored(scene.house.folder) == {scene.digest: SIZE}
    first, *others = sorted(map(span, scene.upstream.requests("blob")))
    assert first == (0, SIZE)
    position = others[0][0]
    for start, end in others:
        assert start == position
        position = end
    assert position == SIZE
    assert scene.house.cache.fills.stats.started == scene.house.cache.fills.stats.completed == 1


@parallel
async def test_a_range_at_the_far_end_is_answered_while_the_front_still_waits(scene: Scene) -> None:
    async with await scene.begin() as client:
        await scene.fill()
        start, last = SIZE - 2 * MiB, SIZE - MiB
        reply = await scene.house.get(blob_path(scene.digest), {"Range": f"bytes={start}-{last}"})
        assert (reply.status, reply.body) == (206, scene.blob[start : last + 1])
        assert not scene.gate.is_set()
        scene.gate.set()
        assert (await client.reply()).body == scene.blob


@parallel_and_impatient
@pytest.mark.parametrize(
    "breaks",
    [roles.vanishes(PART // 2), roles.ends_early(PART // 2), roles.stalls(PART // 2), roles.closes_unanswered],
    ids=["RST", "FIN", "a stall", "no answer"],
)
async def test_a_part_that_breaks_off_is_resumed_where_it_was(scene: Scene, breaks: Act) -> None:
    async with await scene.begin(roles.steady, breaks) as client:
        await scene.rest_is_there()
        scene.gate.set()
        assert (await client.reply()).body == scene.blob
    await scene.house.quiet()
    assert stored(scene.house.folder) == {scene.digest: SIZE}


@parallel
async def test_an_upstream_that_ignores_ranges_is_left_with_one_transfer(scene: Scene) -> None:
    async with await scene.begin(roles.ignores_range) as client:
        await scene.asked(2)
        scene.gate.set()
        assert (await client.reply()).body == scene.blob
    await scene.house.quiet()
    assert len(scene.upstream.requests("blob")) == 2


@parallel
async def test_an_upstream_that_limits_is_left_with_one_transfer(scene: Scene) -> None:
    async with await scene.begin(roles.limits("30")) as client:
        await scene.asked(2)
        scene.gate.set()
        assert (await client.reply()).body == scene.blob
    await scene.house.quiet()
    assert len(scene.upstream.requests("blob")) == 2
    assert scene.house.cache.fills.stats.failed == 0


@parallel
async def test_a_limit_between_two_parts_sends_one_home_and_the_others_finish(scene: Scene) -> None:
    async with await scene.begin(roles.steady, roles.steady, roles.limits("1")) as client:
        await scene.asked(4)
        scene.gate.set()
        reply = asyncio.create_task(client.reply())
        while not reply.done():
            scene.house.clock.advance(1)  # so that the limit is over some time
            await asyncio.sleep(0.01)
        assert reply.result().body == scene.blob


@parallel
async def test_a_part_meant_for_a_transfer_that_never_opens_comes_all_the_same(scene: Scene) -> None:
    async with await scene.begin(roles.holds(1000, scene.gate), roles.silent) as client:
        await scene.asked(3)
        scene.gate.set()
        assert (await client.reply()).body == scene.blob


@parallel
async def test_nobody_completes_a_blob_with_a_wrong_byte_in_a_late_part(scene: Scene) -> None:
    scene.upstream.always("blob", roles.lies(SIZE - MiB))
    async with await scene.begin() as client:
        await scene.rest_is_there()
        scene.gate.set()
        with pytest.raises(Cut) as cut:
            await client.reply()
        assert len(cut.value.body) < SIZE
    await scene.house.quiet()
    assert stored(scene.house.folder) == {}
    assert scene.house.cache.fills.stats.wrong_digests == 1


@parallel
async def test_a_stop_in_the_middle_leaves_nothing(scene: Scene) -> None:
    held = roles.holds(1000, scene.gate)
    async with await scene.begin(held, held, held) as client:
        await scene.asked(4)
        await scene.house.restart()
        with pytest.raises(Cut):
            await client.reply()
    await scene.house.quiet()
    assert stored(scene.house.folder) == {}


@pytest.fixture
async def cramped(tmp_path: Path, upstream: FaultUpstream, clock: ManualClock) -> AsyncIterator[House]:
    """On a disk of its own, of 32 MiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", str(disk)], check=True)
    house = House(disk / "cache", upstream, HouseRules(fills=PARALLEL["fills"]), clock)
    await house.start()
    yield house
    try:
        await ends_well(house)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


async def test_a_disk_that_fills_up_costs_no_reader_a_byte(
    cramped: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    scene = Scene(cramped, upstream, some_bytes(SIZE))
    behind = asyncio.Event()
    upstream.always("blob", roles.holds(PART // 2, behind))
    async with await scene.begin() as client, await cramped.pull(blob_path(scene.digest)) as another:
        await scene.received(HELD_AT + 3 * (PART // 2))  # all four stand still: nobody else fills the disk
        free = os.statvfs(cramped.folder)
        (cramped.folder.parent / "other").write_bytes(bytes(free.f_bavail * free.f_frsize - MiB))
        behind.set()
        scene.gate.set()
        assert (await client.reply()).body == scene.blob
        assert (await another.reply()).body == scene.blob
    assert cramped.cache.fills.stats.spilled == 1
    await cramped.quiet()
    assert stored(cramped.folder) == {}
