"""The owner of tasks: they end with it, and one that fails unforeseen ends it, loudly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class _Over(Exception):
    """Ends the group's tasks; never seen outside."""


@asynccontextmanager
async def task_owner() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group that does not wait for its tasks at the end but cancels them."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
            raise _Over
    except* _Over:
        pass
