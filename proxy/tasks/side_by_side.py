"""Many pieces of work, some at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def side_by_side(most: int, pieces: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """``work`` on each of them in their order, at most ``most`` at a time, whose tasks are over when this returns or
    raises. What it raises ends the others and is raised as a group."""
    rest = iter(pieces)

    async def lane() -> None:
        for piece in rest:
            await work(piece)

    async with asyncio.TaskGroup() as group:
        for _ in range(most):
            group.create_task(lane())
