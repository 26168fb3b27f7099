from collections.abc import AsyncIterator

import pytest

from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs


@pytest.fixture
async def jobs() -> AsyncIterator[Jobs]:
    """Ends with the test, and what runs in its group ends with it."""
    async with task_group() as tasks:
        yield Jobs(tasks)
