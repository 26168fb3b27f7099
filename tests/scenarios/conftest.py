"""The house of each scene, and the check that nothing of it stays behind."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.cast import FaultUpstream, ManualClock
from tests.cast.issuer import Issuer
from tests.scenarios.house import House, HouseRules
from tests.scenarios.invariants import ends_well, open_files

ELSEWHERE = "elsewhere.test"


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the proxy runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def rules() -> HouseRules:
    """A scene sets its own with ``under``."""
    return HouseRules()


def under(**changes: Any) -> pytest.MarkDecorator:
    """These fields of the scene's ``HouseRules``."""
    return pytest.mark.parametrize("rules", [HouseRules(**changes)], ids=["under"])


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_700_000_000.0)


@pytest.fixture
async def nothing_stays() -> AsyncIterator[None]:
    """Tasks and descriptors are back to what they were."""
    await asyncio.to_thread(int)  # what the loop opens for itself, with its first thread and its first listener
    (await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)).close()
    tasks, files = asyncio.all_tasks(), open_files()
    yield
    for _ in range(200):
        if not open_files() - files and not _others(tasks):
            break
        await asyncio.sleep(0.01)
    assert not _others(tasks)
    assert not open_files() - files


def _others(before: set[asyncio.Task[object]]) -> set[asyncio.Task[object]]:
    return asyncio.all_tasks() - before - {asyncio.current_task()}


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    """Of tokens; its keys are in ``jwks.json``."""
    issuer = Issuer()
    issuer.publish(tmp_path / "jwks.json")
    return issuer


@pytest.fixture
async def upstream(nothing_stays: None) -> AsyncIterator[FaultUpstream]:
    async with FaultUpstream() as up:
        yield up


@pytest.fixture
async def house(tmp_path: Path, upstream: FaultUpstream, rules: HouseRules, clock: ManualClock) -> AsyncIterator[House]:
    house = House(tmp_path / "cache", upstream, rules, clock)
    await house.start()
    yield house
    await ends_well(house)
    assert upstream.unplayed == 0, "the scene has not shown its fault"


@pytest.fixture
async def elsewhere(house: House, nothing_stays: None) -> AsyncIterator[FaultUpstream]:
    """A second upstream of the house."""
    async with FaultUpstream() as up:
        house.upstreams[ELSEWHERE] = up
        await house.restart()
        yield up


@pytest.fixture
def some_bytes() -> Callable[[int], bytes]:
    """Different bytes at each call, the same in each run."""
    source = random.Random(7)
    return source.randbytes
