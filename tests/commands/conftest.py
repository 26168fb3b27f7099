from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cast import FaultUpstream
from tests.scenarios.process import Site, site


@pytest.fixture
async def entrepot(tmp_path: Path, upstream: FaultUpstream) -> AsyncIterator[Site]:
    """A running proxy that holds nothing yet."""
    async with site(tmp_path, upstream.url) as running:
        yield running
        await running.stop()
