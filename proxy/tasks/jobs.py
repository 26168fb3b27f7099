"""Background work, under one rule: a fault or a bug is logged with its traceback, counted and shown, and the job goes
on. Nothing but a person ends the process.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from proxy.core.backoff import Backoff
from proxy.tasks.turns import Turns

log = logging.getLogger("entrepot.jobs")

Work = Callable[[], Awaitable[None]]
Sleep = Callable[[float], Awaitable[None]]

_AGAIN = Backoff(first=1.0, longest=300.0)
_HEALED = 3600.0  # seconds of work without a failure, after which the next one counts as the first
_SHORTEST = 1.0  # seconds after which work that was begun again may be said to go on


@dataclass(slots=True)
class JobState:
    """How a job fares, for ``status``, readiness and metrics."""

    failures: int = 0  # since the start
    in_a_row: int = 0
    trouble: str = ""  # the last failure in words; empty once it works again

    def goes_on(self) -> None:
        """It was begun again, and is past where it failed."""
        self.trouble = ""


class Jobs:
    """Started by name; the names are a closed set, since they label a metric. ``states`` has one for each.
    ``group`` owns the jobs, and whatever else those who start them run; ``turns`` are for what is long and must run in
    the loop."""

    def __init__(self, group: asyncio.TaskGroup, sleep: Sleep = asyncio.sleep) -> None:
        self.states: dict[str, JobState] = {}
        self.group = group
        self.turns = Turns()
        self._sleep = sleep

    def once(self, name: str, work: Work) -> "asyncio.Task[None]":
        """One run; whoever needs another starts it."""
        return self._start(name, partial(self._attempt, name, work))

    def every(self, name: str, period: float, work: Work) -> "asyncio.Task[None]":
        """A run each ``period`` seconds, the first after one; a run that fails costs no other."""

        async def repeat() -> None:
            while True:
                await self._sleep(period)
                await self._attempt(name, work)

        return self._start(name, repeat)

    def keep(self, name: str, work: Work) -> "asyncio.Task[None]":
        """Work that goes on by itself until cancelled; where it fails it is begun again, after a pause that grows. That
        is no trouble any more once it has gone on for twice as long as before it failed, or for as long as the longest
        pause."""

        async def resume() -> None:
            loop, lasted = asyncio.get_running_loop(), 0.0
            while True:
                state, began = self.states[name], loop.time()
                goes_on = loop.call_later(max(_SHORTEST, min(2 * lasted, _AGAIN.longest)), state.goes_on)
                try:
                    if await self._attempt(name, work):
                        return
                finally:
                    goes_on.cancel()
                lasted = loop.time() - began
                if lasted > _HEALED:
                    state.in_a_row = 1
                await self._sleep(_AGAIN.pause(state.in_a_row - 1))

        return self._start(name, resume)

    def _start(self, name: str, run: Callable[[], Awaitable[object]]) -> "asyncio.Task[None]":
        self.states.setdefault(name, JobState())

        async def job() -> None:
            await run()

        return self.group.create_task(job(), name=name)

    async def _attempt(self, name: str, work: Work) -> bool:
        """Whether it ended without a failure."""
        state = self.states[name]
        try:
            await work()
        except Exception as cause:
            state.failures += 1
            state.in_a_row += 1
            state.trouble = f"{type(cause).__name__}: {cause}"
            log.exception("the job '%s' failed, for the %d. time in a row; it goes on", name, state.in_a_row)
            return False
        state.in_a_row, state.trouble = 0, ""
        return True
