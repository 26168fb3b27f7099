"""Images of the configuration, brought when the schedule says so."""

import asyncio

import pytest

from proxy.cache.warm_schedule import WarmRules, WarmSchedule
from proxy.cache.warming import Warming
from proxy.core.platforms import Platform
from proxy.warm.references import parse_wanted
from tests.cast import FaultUpstream, ManualClock, roles
from tests.scenarios.house import APP, NAME, House
from tests.scenarios.invariants import stored
from tests.scenarios.shelf import put_image
from tests.scenarios.test_lifecycle_schedule import Schedule

HOUR = 3600.0
IMAGE = f"{NAME}/{APP}"
DAILY = "0 3 * * *"
UNTIL_THREE = 17_200.0  # seconds, from where the clock of the scenes stands


def rules(*images: str, schedule: str | None = DAILY, pin: bool = False) -> WarmRules:
    return WarmRules(tuple(map(parse_wanted, images)), (Platform("linux", "amd64"),), schedule, pin)


@pytest.fixture(autouse=True)
def schedule(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Schedule:
    """Of every house that starts from now on."""
    schedule = Schedule(clock)
    run = WarmSchedule.run

    async def on_schedule(warm: WarmSchedule) -> None:
        await run(warm, schedule.sleep)

    monkeypatch.setattr(WarmSchedule, "run", on_schedule)
    return schedule


async def until_three(schedule: Schedule) -> None:
    """In sleeps of an hour at most, after each of which the clock is looked at."""
    for _ in range(4):
        await schedule.waits(HOUR)
    await schedule.waits(UNTIL_THREE - 4 * HOUR)


async def test_images_come_when_it_is_time_and_again_a_day_later(
    house: House, upstream: FaultUpstream, clock: ManualClock, schedule: Schedule
) -> None:
    image = put_image(upstream, "v1", b"one")
    warm = house.cache.warm_schedule
    warm.configure(rules(f"{IMAGE}:v1", pin=True))
    began = clock() + UNTIL_THREE
    assert await schedule.asleep() == HOUR
    assert (warm.due_at, stored(house.folder)) == (began, {})
    schedule.wake(HOUR)
    for _ in range(3):
        await schedule.waits(HOUR)
    await schedule.waits(UNTIL_THREE - 4 * HOUR)
    assert await schedule.asleep() == HOUR
    assert set(stored(house.folder)) == image.all
    assert (warm.last.began_at, warm.last.images, warm.last.failed) == (began, 1, 0)
    assert warm.due_at == began + 24 * HOUR
    assert [pin.pattern for pin in house.cache.maintenance.retention.pins.list()] == [f"{IMAGE}:v1"]
    moved = put_image(upstream, "v1", b"two")
    schedule.wake(24 * HOUR)
    await schedule.asleep()
    assert moved.all <= set(stored(house.folder))
    assert warm.images == {"held": 2, "failed": 0}


async def test_what_failed_is_told_and_outlives_a_restart(
    house: House, upstream: FaultUpstream, schedule: Schedule
) -> None:
    put_image(upstream, "v1", b"one")
    house.cache.warm_schedule.configure(rules(f"{IMAGE}:v1", f"{IMAGE}:v9"))
    await until_three(schedule)
    await schedule.asleep()
    last = house.cache.warm_schedule.last
    assert (last.images, last.failed) == (2, 1)
    [told] = last.failures
    assert told.startswith(f"{IMAGE}:v9: ")
    assert not house.cache.warm_schedule.under_way
    await house.restart()
    house.cache.warm_schedule.configure(rules(f"{IMAGE}:v1"))
    await schedule.asleep()
    assert house.cache.warm_schedule.last == last


async def test_a_run_that_fails_for_a_bug_is_followed_by_the_next(
    house: House, upstream: FaultUpstream, schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = put_image(upstream, "v1", b"one")
    fired: list[object] = []

    async def fail(*given: object) -> None:
        fired.append(given)
        raise RuntimeError("nobody foresaw it")

    warm = house.cache.warm_schedule
    warm.configure(rules(f"{IMAGE}:v1"))
    with monkeypatch.context() as patched:
        patched.setattr(Warming, "run", fail)
        await until_three(schedule)
        assert await schedule.asleep() == HOUR
    assert fired
    assert (warm.last.began_at, warm.under_way) == (None, None)
    schedule.wake(24 * HOUR)
    await schedule.asleep()
    assert set(stored(house.folder)) == image.all


async def test_other_rules_count_at_once_and_none_wait_for_some(
    house: House, upstream: FaultUpstream, schedule: Schedule
) -> None:
    image = put_image(upstream, "v1", b"one")
    warm = house.cache.warm_schedule
    warm.configure(rules(f"{IMAGE}:v9"))
    await schedule.asleep()
    warm.configure(rules(f"{IMAGE}:v1", schedule="*/10 * * * *"))
    await schedule.waits(400)
    await schedule.asleep()
    assert set(stored(house.folder)) == image.all
    warm.configure(rules(f"{IMAGE}:v1", schedule=None))
    async with asyncio.timeout(20):
        while warm.due_at is not None:
            await asyncio.sleep(0.005)


async def test_a_stop_in_the_middle_of_a_run_ends_it(house: House, upstream: FaultUpstream, schedule: Schedule) -> None:
    image = put_image(upstream, "v1", b"one" * 100_000)
    gate = asyncio.Event()
    upstream.plays(f"/v2/{APP}/blobs/{image.parts[1]}", roles.holds(1000, gate))
    house.cache.warm_schedule.configure(rules(f"{IMAGE}:v1"))
    await until_three(schedule)
    async with asyncio.timeout(20):
        while not len(house.cache.fills):
            await asyncio.sleep(0.005)
    assert house.cache.warm_schedule.under_way is not None
    await house.stop()
    gate.set()
    await house.start()
    assert house.cache.warm_schedule.last.began_at is None
