"""The group that all tasks of the process belong to: they end with it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class _Over(Exception):
    """Ends the group's tasks; never seen outside."""


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group that does not wait for its tasks at the end but cancels them. What its user raises leaves as it is:
    only what tasks raise leaves as a group."""
    raised: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            try:
                yield group
            except Exception as cause:
                raised = cause
            raise _Over
    except* _Over:
        pass
    if raised is not None:
        raise raised
