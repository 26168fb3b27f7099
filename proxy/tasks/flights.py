"""Single flight: at most one run per key; whoever asks meanwhile gets the same result.

A run that has ended is joined by nobody, not even in the step in which it ends: who asks in a loop until a run has
brought him on would go round there without end, and the loop with him.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from proxy.core.errors import afresh

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _Failed:
    cause: Exception


class Flights(Generic[K, V]):
    """The runs belong to ``group`` and not to the callers: a caller may leave, the run goes on for the others."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._aloft: dict[K, asyncio.Task[V | _Failed]] = {}

    def __contains__(self, key: K) -> bool:
        """Whether a run is in the air, for ``join`` to find."""
        flight = self._aloft.get(key)
        return flight is not None and not flight.done()

    def __len__(self) -> int:
        return len(self._aloft)

    async def join(self, key: K, run: Callable[[], Awaitable[V]]) -> V:
        """The result of the run in the air, or of a new one. Raises what the run raised, each caller a copy of his
        own."""
        landed = await asyncio.shield(self._flight(key, run))
        if isinstance(landed, _Failed):
            raise afresh(landed.cause) from landed.cause
        return landed

    def launch(self, key: K, run: Callable[[], Awaitable[V]]) -> None:
        """A run that nobody waits for yet, unless one is in the air. What it raises is lost where nobody joins."""
        self._flight(key, run)

    def _flight(self, key: K, run: Callable[[], Awaitable[V]]) -> "asyncio.Task[V | _Failed]":
        flight = self._aloft.get(key)
        if flight is None or flight.done():  # no await between look and launch, so no lock
            flight = self._group.create_task(_fly(run))
            # A callback, since a task that is cancelled before its first step never reaches a finally of its own.
            flight.add_done_callback(partial(self._ended, key))
            self._aloft[key] = flight
        return flight

    def _ended(self, key: K, flight: "asyncio.Task[V | _Failed]") -> None:
        if self._aloft.get(key) is flight:
            del self._aloft[key]


async def _fly(run: Callable[[], Awaitable[V]]) -> V | _Failed:
    try:
        return await run()
    except Exception as cause:  # as a value: raised here it would cancel every sibling in the group
        return _Failed(cause)
