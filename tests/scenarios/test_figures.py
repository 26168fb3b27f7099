"""What is measured of fills, upstreams and what is let go."""

import asyncio
from collections.abc import Callable

import pytest

from proxy.cache.retention import Cause
from proxy.core.budget import ByteLimits
from tests.cast import FaultUpstream, ManualClock, roles
from tests.scenarios.client import Cut
from tests.scenarios.conftest import under
from tests.scenarios.house import APP, NAME, House, MiB, blob_path

Bytes = Callable[[int], bytes]
DAY = 86400.0


async def brought(house: House, upstream: FaultUpstream, content: bytes) -> None:
    assert (await house.get(blob_path(upstream.blob(APP, content)))).status == 200
    await house.quiet()


@under(soft=16 * MiB)
async def test_what_goes_for_space_tells_the_limit_that_wanted_it_and_how_long_it_was_unused(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes
) -> None:
    gone = house.cache.maintenance.retention.stats
    await brought(house, upstream, some_bytes(6 * MiB))
    clock.advance(8 * DAY)
    for _ in range(2):
        await brought(house, upstream, some_bytes(6 * MiB))
    await house.cache.space.shrink()
    assert gone.evictions == {Cause.BUDGET: 1, Cause.SHARE: 0, Cause.DISK: 0}
    assert gone.evicted[Cause.BUDGET] == gone.evicted_bytes == 6 * MiB
    assert gone.eviction_ages.count == 1
    assert 8 * DAY <= gone.eviction_ages.total < 9 * DAY
    house.shares[NAME] = ByteLimits(8 * MiB)
    await house.cache.space.shrink()
    assert gone.evictions[Cause.SHARE] == 1


async def test_a_fill_is_timed_by_how_it_ended(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    fills = house.cache.fills
    await brought(house, upstream, some_bytes(MiB))
    digest = upstream.blob(APP, some_bytes(MiB))
    upstream.plays("blob", roles.lies(1000))
    with pytest.raises(Cut):
        await house.get(blob_path(digest))
    await house.quiet()
    while sum(took.count for took in fills.durations.values()) < fills.stats.started:
        await asyncio.sleep(0.005)
    assert {result: took.count for result, took in fills.durations.items()} == {"completed": 1, "failed": 1}
    assert (fills.sizes.count, fills.sizes.total) == (1, MiB)
    assert fills.waiting == 0
