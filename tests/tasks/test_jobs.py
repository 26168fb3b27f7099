"""The one rule of background work: it fails aloud and goes on."""

import asyncio
import logging

import pytest

from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs


class Work:
    """Fails as often as it is told; ``ran`` counts its runs."""

    def __init__(self, failures: int) -> None:
        self.ran = 0
        self.done = asyncio.Event()
        self._failures = failures

    async def __call__(self) -> None:
        self.ran += 1
        if self.ran <= self._failures:
            raise ZeroDivisionError("a bug")
        self.done.set()


class Pauses:
    """Sleeps that end at once, and are written down."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


async def test_a_run_that_fails_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    async with task_group() as group:
        jobs, work = Jobs(group, Pauses()), Work(2)
        jobs.every("flush", 10.0, work)
        await work.done.wait()
        await asyncio.sleep(0)
        assert (jobs.states["flush"].failures, jobs.states["flush"].trouble) == (2, "")
    assert "ZeroDivisionError: a bug" in caplog.text, "with its traceback"


async def test_work_that_breaks_off_is_begun_again_after_pauses_that_grow() -> None:
    async with task_group() as group:
        pauses, work = Pauses(), Work(4)
        jobs = Jobs(group, pauses)
        await jobs.keep("scrub", work)
        assert (work.ran, pauses.slept) == (5, [1.0, 2.0, 4.0, 8.0])


async def test_work_that_never_ends_is_no_trouble_once_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.tasks.jobs._SHORTEST", 0.0)
    failing = Work(2)

    async def endless() -> None:
        await failing()
        await asyncio.Event().wait()

    async with task_group() as group:
        jobs = Jobs(group, Pauses())
        kept = jobs.keep("scrub", endless)
        await failing.done.wait()
        while jobs.states["scrub"].trouble:
            await asyncio.sleep(0.001)
        assert (jobs.states["scrub"].failures, kept.done()) == (2, False)
        kept.cancel()


async def test_a_failure_takes_no_sibling_down_and_is_told_in_words() -> None:
    async with task_group() as group:
        jobs = Jobs(group)
        sibling = jobs.once("sibling", asyncio.Event().wait)  # type: ignore[arg-type]
        await jobs.once("eviction", Work(1))
        assert jobs.states["eviction"].trouble == "ZeroDivisionError: a bug"
        assert not sibling.done()


async def test_what_has_not_failed_is_there_to_be_counted() -> None:
    async with task_group() as group:
        jobs = Jobs(group)
        jobs.every("backup", 300.0, Work(0))
        assert jobs.states["backup"].failures == 0
