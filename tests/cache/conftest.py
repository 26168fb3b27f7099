"""What holds content, for tests of single rooms."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from proxy.cache.holdings import Holdings
from proxy.cache.threads import StoreThreads
from proxy.core.budget import Budget, ByteLimits
from proxy.storage.catalog import SqliteCatalog
from proxy.storage.disk import DiskStore


@pytest.fixture
async def holdings(tmp_path: Path) -> AsyncIterator[Holdings]:
    catalog = SqliteCatalog(tmp_path)
    with closing(DiskStore(tmp_path)) as store, ThreadPoolExecutor(2) as threads:
        yield Holdings(store, catalog, Budget(ByteLimits(1000)), StoreThreads(*[threads] * 4), lambda: 7.0)
    await catalog.close()
