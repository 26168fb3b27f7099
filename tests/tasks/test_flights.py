"""Single flight: one run for all who ask meanwhile."""

import asyncio

import pytest

from proxy.core.errors import UpstreamFailed
from proxy.tasks.flights import Flights
from proxy.tasks.group import task_group


class Run:
    def __init__(self, fault: Exception | None = None) -> None:
        self.times = 0
        self.go = asyncio.Event()
        self._fault = fault

    async def __call__(self) -> str:
        self.times += 1
        await self.go.wait()
        if self._fault is not None:
            raise self._fault
        return "landed"


async def test_all_who_ask_meanwhile_get_one_result() -> None:
    async with task_group() as group:
        flights: Flights[str, str] = Flights(group)
        run = Run()
        callers = [asyncio.create_task(flights.join("key", run)) for _ in range(3)]
        await asyncio.sleep(0)
        run.go.set()
        assert await asyncio.gather(*callers) == ["landed"] * 3
        assert run.times == 1
        assert "key" not in flights


async def test_a_run_that_has_ended_is_joined_by_nobody_not_even_in_the_step_in_which_it_ends() -> None:
    async with task_group() as group:
        flights: Flights[str, str] = Flights(group)
        late: list[asyncio.Task[str]] = []
        aloft: list[bool] = []

        async def again() -> str:
            return "again"

        async def asks_late() -> str:
            aloft.append("key" in flights)
            return await flights.join("key", again)

        async def ends() -> str:
            late.append(asyncio.create_task(asks_late()))  # its step comes before those of whoever waits for the run
            return "ended"

        assert await flights.join("key", ends) == "ended"
        assert aloft == [False]
        assert await late[0] == "again"
        assert len(flights) == 0


async def test_a_caller_who_leaves_takes_nothing_with_him() -> None:
    async with task_group() as group:
        flights: Flights[str, str] = Flights(group)
        run = Run()
        leaving, staying = (asyncio.create_task(flights.join("key", run)) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        run.go.set()
        assert await staying == "landed"


async def test_each_caller_raises_a_copy_so_that_no_traceback_grows() -> None:
    async with task_group() as group:
        flights: Flights[str, str] = Flights(group)
        fault = UpstreamFailed("docker.io", "it answered 503")
        run = Run(fault)
        callers = [asyncio.create_task(flights.join("key", run)) for _ in range(2)]
        await asyncio.sleep(0)
        run.go.set()
        first, second = await asyncio.gather(*callers, return_exceptions=True)
        assert isinstance(first, UpstreamFailed)
        assert isinstance(second, UpstreamFailed)
        assert first is not second
        assert (str(first), first.upstream) == (str(fault), "docker.io")


async def test_a_run_that_nobody_waits_for_can_be_joined_and_may_fail_alone() -> None:
    async with task_group() as group:
        flights: Flights[str, str] = Flights(group)
        run = Run(ZeroDivisionError())
        flights.launch("key", run)
        flights.launch("key", run)
        run.go.set()
        with pytest.raises(ZeroDivisionError):
            await flights.join("key", run)
        assert run.times == 1
        flights.launch("key", run)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert "key" not in flights
