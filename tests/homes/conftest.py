"""The upstream of each scene, and a folder for its cache."""

import random
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.cast import FaultUpstream


@pytest.fixture
async def upstream() -> AsyncIterator[FaultUpstream]:
    async with FaultUpstream() as up:
        yield up


@pytest.fixture
def some_bytes() -> Callable[[int], bytes]:
    """Different bytes at each call, the same in each run."""
    return random.Random(11).randbytes


@pytest.fixture
def cache() -> Iterator[Path]:
    """Where a volume is mounted: in a folder that every user finds, as pytest's are not."""
    with tempfile.TemporaryDirectory(prefix="homes-") as name:
        Path(name).chmod(0o755)
        (Path(name) / "cache").mkdir()
        yield Path(name) / "cache"
