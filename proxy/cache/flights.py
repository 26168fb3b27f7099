"""Single flight: at most one run per key; whoever asks meanwhile gets the same result."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _Failed:
    cause: Exception


class Flights(Generic[K, V]):
    """The runs belong to ``owner`` and not to the callers: a caller may leave, the run goes on for the others."""

    def __init__(self, owner: asyncio.TaskGroup) -> None:
        self._owner = owner
        self._aloft: dict[K, asyncio.Task[V | _Failed]] = {}

    def __contains__(self, key: K) -> bool:
        return key in self._aloft

    def __len__(self) -> int:
        return len(self._aloft)

    async def join(self, key: K, run: Callable[[], Awaitable[V]]) -> V:
        """The result of the run in the air, or of a new one. Raises what the run raised."""
        flight = self._aloft.get(key)
        if flight is None:  # no await between look and launch, so no lock
            flight = self._owner.create_task(_fly(run))
            # A callback, since a task that is cancelled before its first step never reaches a finally of its own.
            flight.add_done_callback(lambda _: self._aloft.pop(key))
            self._aloft[key] = flight
        landed = await asyncio.shield(flight)
        if isinstance(landed, _Failed):
            raise landed.cause
        return landed


async def _fly(run: Callable[[], Awaitable[V]]) -> V | _Failed:
    try:
        return await run()
    except Exception as cause:  # as a value: raised here it would cancel every sibling of the owner's group
        return _Failed(cause)
