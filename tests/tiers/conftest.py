"""The registry of scenes that need one to misbehave."""

import random
from collections.abc import AsyncIterator, Callable

import pytest

from tests.cast import FaultUpstream


@pytest.fixture
async def upstream() -> AsyncIterator[FaultUpstream]:
    async with FaultUpstream() as up:
        yield up


@pytest.fixture
def some_bytes() -> Callable[[int], bytes]:
    """Different bytes at each call, the same in each run."""
    return random.Random(16).randbytes
