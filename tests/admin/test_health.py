"""Readiness, and what is wrong while pulls go on."""

import json
from collections.abc import AsyncIterator, Mapping

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from proxy.admin.health import Health, Stage, catalog_troubles, job_troubles
from proxy.admin.listener import AdminApi
from proxy.admin.metrics import Metrics
from proxy.tasks.jobs import JobState
from tests.admin.doors import GATE, HERE, served
from tests.admin.test_answering import no_status


class Disk:
    def __init__(self) -> None:
        self.troubles: dict[str, str] = {}

    def __call__(self) -> Mapping[str, str]:
        return self.troubles


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def health(disk: Disk) -> Health:
    return Health([disk])


@pytest.fixture
async def url(health: Health) -> AsyncIterator[str]:
    async with TestServer(served(AdminApi(HERE, GATE, health, Metrics([]), no_status, ()))) as server:
        yield str(server.make_url("/readyz"))


async def readiness(url: str) -> tuple[int, dict[str, str]]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, json.loads(await answer.read())


async def test_it_is_withdrawn_before_the_start_and_for_a_stop_only(url: str, health: Health, disk: Disk) -> None:
    assert (await readiness(url))[0] == 503
    health.stage = Stage.READY
    assert await readiness(url) == (200, {"status": "ready"})
    disk.troubles = {"store": "the disk is full", "catalog": "is read-only"}
    assert await readiness(url) == (
        200,
        {"status": "degraded", "concerns": ["catalog", "store"]},
    )
    disk.troubles = {}
    assert await readiness(url) == (200, {"status": "ready"})
    health.stage = Stage.STOPPING
    assert (await readiness(url))[0] == 503


def test_a_job_that_fails_is_a_trouble_until_it_works_again() -> None:
    state = JobState(failures=3, in_a_row=2, trouble="StoreFailed: no")
    troubles = job_troubles({"flush": state, "scrub": JobState(failures=9)})
    assert troubles() == {"job flush": "failed 2 times in a row, and is tried again: StoreFailed: no"}
    state.trouble = ""
    assert troubles() == {}


@pytest.mark.parametrize(("how", "told"), [("intact", False), ("new", False), ("from_copy", True), ("empty", True)])
def test_a_catalog_that_lost_something_is_a_trouble_until_it_is_found_again(how: str, told: bool) -> None:
    compared = [""]
    troubles = catalog_troubles(lambda: how, lambda: compared[0])
    assert bool(troubles()) is told
    compared[0] = how
    assert troubles() == {}


def test_a_source_that_fails_is_a_trouble_itself() -> None:
    def broken() -> Mapping[str, str]:
        raise RuntimeError("a bug")

    assert Health([broken, lambda: {"store": "full"}]).degraded() == {
        "health": "cannot be told: RuntimeError: a bug",
        "store": "full",
    }
