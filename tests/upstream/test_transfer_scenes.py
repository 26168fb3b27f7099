"""Blob bodies that come whole, slowly, in part, or not at all."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from proxy.core.errors import UpstreamBroken, UpstreamTimeout, UpstreamUnreachable
from tests.cast import Act, FaultUpstream, ManualClock, roles
from tests.upstream.rig import HASTY, LIMITS, NAME, client_of, drained, pulled

BYTES = bytes(range(256)) * 1000
PLACES = [0, 1, 4095, 4096, len(BYTES) // 2, len(BYTES) - 1]


@pytest.mark.parametrize("content", [b"", b"{}", BYTES, BYTES * 20], ids=["empty", "tiny", "small", "large"])
@pytest.mark.parametrize("room", [7, 1 << 20])
async def test_a_blob_arrives_whole_and_the_connection_is_used_again(content: bytes, room: int) -> None:
    content = content[: room * 20_000]
    async with FaultUpstream() as up, client_of(up) as registry:
        digest = up.blob(NAME, content)
        for _ in range(3):
            transfer = await registry.blob(NAME, digest)
            assert (transfer.offset, transfer.size) == (0, len(content))
            assert await drained(transfer, room) == content
        assert up.connections == 1
        assert registry.stats.bytes_in == 3 * len(content)


async def test_a_part_arrives_from_its_offset() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        transfer = await registry.blob(NAME, up.blob(NAME, BYTES), 1000)
        assert (transfer.offset, transfer.size) == (1000, len(BYTES))
        assert await drained(transfer) == BYTES[1000:]


async def test_an_upstream_that_ignores_the_range_begins_at_nought() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.always("blob", roles.ignores_range)
        transfer = await registry.blob(NAME, up.blob(NAME, BYTES), 1000)
        assert (transfer.offset, transfer.size) == (0, len(BYTES))
        assert await drained(transfer) == BYTES


@pytest.mark.parametrize(
    "act",
    [
        roles.misplaces(f"bytes 999-{len(BYTES) - 1}/{len(BYTES)}"),
        roles.misplaces(f"bytes 1000-{len(BYTES) - 2}/{len(BYTES)}"),
        roles.misplaces(f"bytes 1000-{len(BYTES)}/{len(BYTES) + 1}"),
        roles.misplaces("bytes 1000-5/10"),
        roles.misplaces(""),
        roles.answers(416),
        roles.answers(204),
        roles.answers(203),
    ],
)
async def test_a_part_that_does_not_fit_is_a_broken_upstream(act: Act) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.always("blob", act)
        with pytest.raises(UpstreamBroken):
            await registry.blob(NAME, up.blob(NAME, BYTES), 1000)


async def test_a_part_that_nobody_asked_for_is_a_broken_upstream() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.always("blob", roles.misplaces(f"bytes 0-{len(BYTES) - 1}/{len(BYTES)}"))
        with pytest.raises(UpstreamBroken):
            await registry.blob(NAME, up.blob(NAME, BYTES))


@pytest.mark.parametrize("at", PLACES)
@pytest.mark.parametrize("role", [roles.vanishes, roles.ends_early], ids=["reset", "early end"])
async def test_a_body_that_breaks_off_is_an_outage_and_what_came_is_right(role: Callable[[int], Act], at: int) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.always("blob", role(at))
        transfer = await registry.blob(NAME, up.blob(NAME, BYTES))
        came = bytearray()

        def pull() -> None:
            buffer = memoryview(bytearray(10_000))
            try:
                while count := transfer.readinto(buffer):
                    came.extend(buffer[:count])
            finally:
                transfer.close()

        with pytest.raises(UpstreamUnreachable, match="broke off"):
            await asyncio.to_thread(pull)
        assert bytes(came) == BYTES[: len(came)]
        assert len(came) <= at
        if role is roles.ends_early:
            assert len(came) == at


@pytest.mark.parametrize("at", PLACES)
async def test_a_body_that_stalls_is_given_up(at: int) -> None:
    limits = replace(HASTY, stall=0.1)
    async with FaultUpstream() as up, client_of(up, limits=limits) as registry:
        up.always("blob", roles.stalls(at))
        with pytest.raises(UpstreamTimeout, match="nothing of the blob"):
            await pulled(registry, up.blob(NAME, BYTES))


@pytest.mark.parametrize("role", [roles.holds, roles.holds_in_one_piece])
async def test_what_has_come_is_handed_on_while_the_rest_is_awaited(
    role: Callable[[int, asyncio.Event], Act],
) -> None:
    gate = asyncio.Event()
    async with FaultUpstream() as up, client_of(up) as registry:
        up.plays("blob", role(5, gate))
        transfer = await registry.blob(NAME, up.blob(NAME, BYTES))
        buffer = memoryview(bytearray(1 << 20))
        assert await asyncio.to_thread(transfer.readinto, buffer) == 5
        gate.set()
        assert bytes(buffer[:5]) + await drained(transfer) == BYTES


async def test_a_drip_is_cut_off() -> None:
    gate = asyncio.Event()
    limits = replace(LIMITS, slow_window=0.2)
    async with FaultUpstream() as up, client_of(up, limits=limits, clock=_running_clock()) as registry:
        up.plays("blob", roles.drips(100, gate))
        transfer = await registry.blob(NAME, up.blob(NAME, BYTES))
        with pytest.raises(UpstreamTimeout, match="slower than 32 KiB/s"):
            await drained(transfer)


def _running_clock() -> ManualClock:
    """A drip is a matter of time: this clock moves with the real one."""

    class Running(ManualClock):
        def __call__(self) -> float:
            return time.monotonic()

    return Running()


@pytest.mark.parametrize("at", [0, 100])
async def test_a_blocked_read_can_be_woken(at: int) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.always("blob", roles.stalls(at))
        transfer = await registry.blob(NAME, up.blob(NAME, BYTES))
        reading = asyncio.create_task(drained(transfer))
        while not up.requests("blob") or up.requests("blob")[0].sent < at:
            await asyncio.sleep(0)
        transfer.interrupt()
        with pytest.raises(UpstreamUnreachable, match="interrupted"):
            await reading
        transfer.interrupt()
        transfer.close()


async def test_a_transfer_closed_in_the_middle_gives_no_dirty_connection_back() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        digest = up.blob(NAME, BYTES)
        transfer = await registry.blob(NAME, digest)
        await asyncio.to_thread(transfer.readinto, memoryview(bytearray(10)))
        transfer.close()
        assert await pulled(registry, digest) == BYTES
        assert up.connections == 2


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("act", [roles.chunked(999), roles.chunked(100_000), roles.unmeasured(), roles.interim])
async def test_framing_does_not_matter(act: Act, algorithm: str) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        digest = up.blob(NAME, BYTES, algorithm)
        up.always("blob", act)
        for _ in range(2):
            assert await pulled(registry, digest) == BYTES


async def test_a_chunked_body_that_breaks_off_is_an_outage() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.always("blob", roles.chunked(1000, cut_after=3))
        transfer = await registry.blob(NAME, up.blob(NAME, BYTES))
        assert transfer.size is None
        with pytest.raises(UpstreamUnreachable, match="broke off"):
            await drained(transfer)


async def test_an_idle_connection_that_died_costs_no_fault_and_no_retry() -> None:
    clock = ManualClock()
    async with FaultUpstream() as up, client_of(up, clock) as registry:
        digest = up.blob(NAME, BYTES)
        up.always("blob", roles.then_closes)
        for _ in range(4):
            assert await pulled(registry, digest) == BYTES
        assert clock.slept == []
        assert up.connections == 4


async def test_a_connection_that_dies_as_we_send_is_replaced() -> None:
    clock = ManualClock()
    async with FaultUpstream() as up, client_of(up, clock) as registry:
        digest = up.blob(NAME, BYTES)
        await pulled(registry, digest)
        up.plays("blob", roles.closes_unanswered)
        assert await pulled(registry, digest) == BYTES
        assert (up.connections, len(up.requests("blob"))) == (2, 3)
        assert clock.slept == []


async def test_many_blobs_come_at_the_same_time() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        blobs = {up.blob(NAME, bytes([number]) * 100_000): bytes([number]) * 100_000 for number in range(40)}
        arrived = await asyncio.gather(*(pulled(registry, digest) for digest in blobs))
        assert arrived == list(blobs.values())


async def test_closing_the_registry_wakes_whoever_waits_for_headers() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.always("blob", roles.silent)
        opening = asyncio.create_task(registry.blob(NAME, up.blob(NAME, BYTES)))
        while not up.ledger:
            await asyncio.sleep(0)
        await registry.close()
        with pytest.raises(UpstreamUnreachable):
            await opening
