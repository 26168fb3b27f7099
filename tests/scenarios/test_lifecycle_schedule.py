"""When the lifecycle policies are applied: on schedule, one run at a time, whatever went wrong before."""

import asyncio
import json
import threading
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path

import pytest

from proxy.cache.lifecycle import Lifecycle, LifecycleRules, no_push_times
from proxy.core.errors import StoreFailed
from proxy.core.lifecycle import parse_extended_policy
from proxy.core.names import Digest, Repository
from proxy.core.policies import Assignment
from proxy.storage.contract import HeldImage
from proxy.storage.disk import DiskStore
from tests.cast import FaultUpstream, ManualClock
from tests.scenarios.client import Client
from tests.scenarios.house import APP, NAME, House, blob_path, manifest_path
from tests.scenarios.invariants import index_is_disk, stored
from tests.scenarios.process import Site, site
from tests.scenarios.shelf import Image, pull, put_image

HOUR = 3600.0
FIRST = 60.0  # seconds that a start is left alone


class Schedule:
    """The sleeps between runs, which end when the scene says so."""

    def __init__(self, clock: ManualClock) -> None:
        self.ended = threading.Event()  # the loop of runs was cancelled
        self._clock = clock
        self._asked: asyncio.Queue[tuple[float, asyncio.Event]] = asyncio.Queue()
        self._alarm: asyncio.Event | None = None

    async def sleep(self, seconds: float) -> None:
        alarm = asyncio.Event()
        self._asked.put_nowait((seconds, alarm))
        await alarm.wait()

    async def asleep(self) -> float:
        """For how long, once what was under way has ended."""
        async with asyncio.timeout(20):
            seconds, self._alarm = await self._asked.get()
        return seconds

    async def waits(self, seconds: float) -> None:
        """It lies down for exactly so long, and the time is over."""
        assert await self.asleep() == pytest.approx(seconds)
        self.wake(seconds)

    async def first_run(self) -> None:
        """It is under way."""
        await self.waits(FIRST)
        await self.waits(0.0)

    def wake(self, after: float) -> None:
        assert self._alarm is not None
        self._clock.advance(after)
        self._alarm.set()
        self._alarm = None

    @property
    def awake(self) -> bool:
        return self._alarm is None and self._asked.empty()


@pytest.fixture(autouse=True)
def schedule(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Schedule:
    """Of every house that starts from now on."""
    schedule = Schedule(clock)
    run = Lifecycle.run

    async def on_schedule(lifecycle: Lifecycle) -> None:
        try:
            await run(lifecycle, schedule.sleep)
        finally:
            schedule.ended.set()

    monkeypatch.setattr(Lifecycle, "run", on_schedule)
    return schedule


class Gate:
    """Runs ask here when the images of a repository were pushed, and wait until it opens."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.reached = asyncio.Event()
        self.asked = self.at_once = self.most_at_once = 0

    async def __call__(self, repository: Repository) -> Mapping[str, float]:
        self.asked += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.reached.set()
        try:
            await self.open.wait()
        finally:
            self.at_once -= 1
        return {}


def under_rules(house: House, count: int = 1, interval: float = HOUR) -> Lifecycle:
    """The newest so many images stay."""
    lifecycle = house.cache.maintenance.lifecycle
    lifecycle.rules = LifecycleRules(tuple(keep_newest(count)), interval)
    return lifecycle


def keep_newest(count: int) -> list[Assignment]:
    return [Assignment((f"{NAME}/*",), parse_extended_policy(json.dumps(newest(count))))]


def newest(count: int) -> dict[str, list[dict[str, object]]]:
    selection = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": count}
    return {"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]}


async def expired(lifecycle: Lifecycle) -> int:
    """The rules once, by order; how many images went."""
    async with aclosing(lifecycle.expire(lifecycle.rules.assignments)) as reviews:
        return sum([len(review.removal.memberships) async for review in reviews])


async def pull_versions(
    house: House, upstream: FaultUpstream, clock: ManualClock, *tags: str, repository: str = APP
) -> list[Image]:
    """One image each, a second apart."""
    images = []
    for tag in tags:
        images.append(put_image(upstream, tag, f"layer of {repository}:{tag}".encode() * 50, repository=repository))
        await pull(house, images[-1], tag, repository)
        clock.advance(1)
    return images


async def test_the_first_run_is_a_minute_after_the_start_and_the_next_an_interval_after_it_began(
    house: House, upstream: FaultUpstream, clock: ManualClock, schedule: Schedule
) -> None:
    lifecycle = under_rules(house)
    old, new = await pull_versions(house, upstream, clock, "v1", "v2")
    assert await schedule.asleep() == FIRST
    assert set(stored(house.folder)) == old.all | new.all, "nothing goes before its time"
    assert lifecycle.runs == {"completed": 0, "failed": 0}
    schedule.wake(FIRST)
    await schedule.waits(0.0)
    assert await schedule.asleep() == HOUR
    assert set(stored(house.folder)) == new.all
    assert (lifecycle.last.began_at, lifecycle.last.expired, lifecycle.last.images) == (clock(), 1, 2)
    [newer] = await pull_versions(house, upstream, clock, "v3")
    assert set(stored(house.folder)) == new.all | newer.all, "until the interval is over"
    assert lifecycle.runs["completed"] == 1
    schedule.wake(HOUR)
    assert await schedule.asleep() == HOUR
    assert set(stored(house.folder)) == newer.all
    assert lifecycle.runs == {"completed": 2, "failed": 0}
    await index_is_disk(house)


async def test_a_restart_halfway_waits_for_the_other_half(house: House, clock: ManualClock, schedule: Schedule) -> None:
    under_rules(house)
    await schedule.first_run()
    assert await schedule.asleep() == HOUR
    clock.advance(HOUR / 2)
    await house.restart()
    lifecycle = under_rules(house)
    await schedule.waits(FIRST)
    await schedule.waits(HOUR / 2 - FIRST)
    assert await schedule.asleep() == HOUR
    assert lifecycle.runs["completed"] == 1


async def test_a_clock_that_was_ahead_at_the_last_run_delays_the_next_by_no_more_than_the_interval(
    house: House, clock: ManualClock, schedule: Schedule
) -> None:
    under_rules(house)
    await schedule.first_run()
    assert await schedule.asleep() == HOUR
    clock.advance(-10 * 365 * 24 * HOUR)
    await house.restart()
    under_rules(house)
    await schedule.waits(FIRST)
    await schedule.waits(HOUR)
    assert await schedule.asleep() == HOUR
    assert house.cache.maintenance.lifecycle.last.began_at == clock()


@pytest.mark.parametrize("fault", [StoreFailed("the catalog cannot be read"), RuntimeError("nobody foresaw it")])
async def test_a_run_that_fails_does_not_stop_the_next_one_nor_the_pulls(
    house: House,
    upstream: FaultUpstream,
    clock: ManualClock,
    schedule: Schedule,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
) -> None:
    lifecycle = under_rules(house)
    old, new = await pull_versions(house, upstream, clock, "v1", "v2")
    failed: list[object] = []

    async def fail(*given: object) -> list[HeldImage]:
        failed.append(given)
        raise fault

    with monkeypatch.context() as patched:
        patched.setattr(house.catalog.contents, "images", fail)
        await schedule.first_run()
        assert await schedule.asleep() == FIRST, "not at once again"
    assert failed
    assert lifecycle.runs == {"completed": 0, "failed": 1}
    assert set(stored(house.folder)) == old.all | new.all
    assert await pull(house, new, None) == {"hit"}
    schedule.wake(FIRST)
    await schedule.waits(0.0)
    assert await schedule.asleep() == HOUR
    assert lifecycle.runs == {"completed": 1, "failed": 1}
    assert set(stored(house.folder)) == new.all


async def test_what_a_run_did_before_it_failed_is_done_and_the_next_one_does_the_rest(
    house: House, upstream: FaultUpstream, clock: ManualClock, schedule: Schedule
) -> None:
    lifecycle = under_rules(house)
    _, first = await pull_versions(house, upstream, clock, "v1", "v2", repository="team/a")
    before, second = await pull_versions(house, upstream, clock, "v1", "v2", repository="team/b")

    async def fails_at_the_second(repository: Repository) -> Mapping[str, float]:
        if repository.name == "team/b":
            raise RuntimeError("its upstream is in a bad state")
        return {}

    house.push_times = fails_at_the_second
    await schedule.first_run()
    await schedule.waits(FIRST)
    house.push_times = no_push_times
    assert lifecycle.runs["failed"] == 1
    assert set(stored(house.folder)) == first.all | before.all | second.all
    await schedule.waits(0.0)
    await schedule.asleep()
    assert set(stored(house.folder)) == first.all | second.all


async def test_a_run_that_takes_longer_than_the_interval_is_followed_by_the_next_and_never_joined_by_it(
    house: House, upstream: FaultUpstream, clock: ManualClock, schedule: Schedule
) -> None:
    lifecycle = under_rules(house)
    await pull_versions(house, upstream, clock, "v1", "v2")
    house.push_times = gate = Gate()
    await schedule.first_run()
    await gate.reached.wait()
    clock.advance(3 * HOUR)
    assert await pull_versions(house, upstream, clock, "v3"), "pulls go on"
    assert schedule.awake
    assert gate.asked == 1
    gate.open.set()
    await schedule.waits(0.0)
    assert await schedule.asleep() == HOUR
    assert lifecycle.runs["completed"] == gate.asked == 2
    assert gate.most_at_once == 1


async def test_an_order_in_the_middle_of_a_run_takes_nothing_twice(
    house: House, upstream: FaultUpstream, clock: ManualClock, schedule: Schedule
) -> None:
    lifecycle = under_rules(house)
    *_, new = await pull_versions(house, upstream, clock, "v1", "v2", "v3")
    house.push_times = gate = Gate()
    await schedule.first_run()
    await gate.reached.wait()
    order = asyncio.create_task(expired(lifecycle))
    async with asyncio.timeout(20):
        while gate.at_once < 2:
            await asyncio.sleep(0)
    gate.open.set()
    by_order = await order
    await schedule.asleep()
    assert by_order + lifecycle.last.expired == house.cache.maintenance.retention.stats.expired == 2
    assert set(stored(house.folder)) == new.all
    await index_is_disk(house)


async def test_a_shorter_interval_counts_at_once(
    house: House, upstream: FaultUpstream, clock: ManualClock, schedule: Schedule
) -> None:
    lifecycle = under_rules(house)
    await schedule.first_run()
    assert await schedule.asleep() == HOUR
    clock.advance(HOUR / 4)
    _, new = await pull_versions(house, upstream, clock, "v1", "v2")
    lifecycle.configure(LifecycleRules(tuple(keep_newest(1)), HOUR / 2))
    await schedule.waits(HOUR / 4 - 2)
    await schedule.asleep()
    assert lifecycle.runs["completed"] == 2
    assert set(stored(house.folder)) == new.all


async def test_a_run_ends_under_the_rules_it_began_with(
    house: House, upstream: FaultUpstream, clock: ManualClock, schedule: Schedule
) -> None:
    lifecycle = under_rules(house)
    for repository in ("team/a", "team/b"):
        await pull_versions(house, upstream, clock, "v1", "v2", repository=repository)
    house.push_times = gate = Gate()
    await schedule.first_run()
    await gate.reached.wait()
    under_rules(house, 100, interval=2 * HOUR)
    gate.open.set()
    assert await schedule.asleep() == 2 * HOUR
    assert lifecycle.last.expired == 2


async def test_a_stop_while_a_run_waits_for_its_upstream_ends_it_and_the_next_start_does_it_all(
    house: House, upstream: FaultUpstream, clock: ManualClock, schedule: Schedule
) -> None:
    lifecycle = under_rules(house)
    _, new = await pull_versions(house, upstream, clock, "v1", "v2")
    house.push_times = gate = Gate()
    await schedule.first_run()
    await gate.reached.wait()
    await house.stop()
    assert schedule.ended.is_set()
    assert gate.at_once == 0
    house.push_times = no_push_times
    await house.start()
    lifecycle = under_rules(house)
    await schedule.first_run()
    await schedule.asleep()
    assert (lifecycle.last.expired, lifecycle.runs["failed"]) == (1, 0)
    assert set(stored(house.folder)) == new.all


async def test_a_stop_while_bytes_are_being_removed_leaves_nothing_behind_that_the_next_start_does_not_finish(
    house: House, upstream: FaultUpstream, clock: ManualClock, schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_rules(house)
    old, new = await pull_versions(house, upstream, clock, "v1", "v2")
    loop, removing = asyncio.get_running_loop(), asyncio.Event()
    remove = DiskStore.remove

    def remove_late(store: DiskStore, digest: Digest) -> None:
        loop.call_soon_threadsafe(removing.set)
        assert schedule.ended.wait(20), "the scene has not stopped the house"
        remove(store, digest)

    with monkeypatch.context() as patched:
        patched.setattr(DiskStore, "remove", remove_late)
        await schedule.first_run()
        await removing.wait()
        assert set(stored(house.folder)) == old.all | new.all, "the run is in the middle of it"
        await house.stop()
    await house.start()
    await index_is_disk(house)
    assert set(stored(house.folder)) == new.all
    assert await pull(house, new, None) == {"hit"}


async def test_images_of_an_upstream_that_is_no_longer_configured_are_let_go_like_all_others(
    tmp_path: Path, upstream: FaultUpstream
) -> None:
    old, new = (put_image(upstream, tag, tag.encode()) for tag in ("v1", "v2"))
    async with site(tmp_path, upstream.url) as entrepot:
        for image, tag in ((old, "v1"), (new, "v2")):
            for path in (manifest_path(tag), *map(blob_path, image.parts)):
                assert (await entrepot.get(path)).status == 200
        await entrepot.stop()
    settings = {
        "upstreams": {"other.test": {"url": upstream.url}},
        "lifecycle": [{"repositories": ["*"], "policy": newest(1)}],
    }
    async with site(tmp_path, upstream.url, settings) as entrepot:
        assert (await entrepot.get(manifest_path("v2"))).status == 404
        summary = await apply(entrepot)
        await entrepot.stop()
    assert (summary["images"], summary["expired"]) == (2, 1)
    assert set(stored(entrepot.folder)) == new.all


async def apply(entrepot: Site) -> dict[str, int]:
    """``entrepot lifecycle apply``; its summary."""
    async with await Client.connect(entrepot.admin) as client:
        headers = {"Content-Type": "application/json", "Content-Length": "0", "Connection": "close"}
        await client.ask("/api/v1/lifecycle/apply", headers, "POST")
        reply = await client.reply()
    assert reply.status == 200, reply
    last = json.loads(reply.body.splitlines()[-1])
    assert "summary" in last, last
    summary: dict[str, int] = last["summary"]
    return summary
