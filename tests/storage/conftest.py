from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from proxy.storage.catalog import SqliteCatalog
from proxy.storage.contract import BlobStore, Catalog
from proxy.storage.disk import DiskStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    with closing(DiskStore(tmp_path)) as opened:
        yield opened


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    opened = SqliteCatalog(tmp_path)
    yield opened
    await opened.close()
