"""A bug planted in one background job of a process or a room, whatever it is made of."""

import asyncio
from typing import cast

from proxy.tasks.jobs import Jobs, JobState, Work
from proxy.tasks.turns import Turns

FAILURES = 2


class Planted:
    """The job called ``name`` fails ``FAILURES`` times before it is what it is. It does not wait for long between two
    runs. ``made_for`` stands in the place of ``Jobs`` itself."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fired = 0
        self.came_back = asyncio.Event()

    def made_for(self, group: asyncio.TaskGroup) -> Jobs:
        """The jobs of one group."""
        return cast(Jobs, _Sown(Jobs(group, self._sleep), self))

    def sown(self, work: Work) -> Work:
        """The job's work with the bug in it."""

        async def planted() -> None:
            if self.fired < FAILURES:
                self.fired += 1
                raise ZeroDivisionError("planted")
            self.came_back.set()
            await work()

        return planted

    async def _sleep(self, seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        await asyncio.sleep(0.01 if task.get_name() == self.name else seconds)


class _Sown:
    """Hands everything to the real ones."""

    def __init__(self, real: Jobs, bug: Planted) -> None:
        self._real = real
        self._bug = bug

    @property
    def group(self) -> asyncio.TaskGroup:
        return self._real.group

    @property
    def turns(self) -> Turns:
        return self._real.turns

    @property
    def states(self) -> dict[str, JobState]:
        return self._real.states

    def once(self, name: str, work: Work) -> "asyncio.Task[None]":
        return self._real.once(name, self._work(name, work))

    def every(self, name: str, period: float, work: Work) -> "asyncio.Task[None]":
        return self._real.every(name, period, self._work(name, work))

    def keep(self, name: str, work: Work) -> "asyncio.Task[None]":
        return self._real.keep(name, self._work(name, work))

    def _work(self, name: str, work: Work) -> Work:
        return self._bug.sown(work) if name == self._bug.name else work
