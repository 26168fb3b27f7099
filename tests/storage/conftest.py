from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from proxy.storage.contract import BlobStore, Catalog
from tests.storage import kit


@pytest.fixture(params=sorted(kit.STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlobStore]:
    with kit.STORES[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture(params=sorted(kit.CATALOGS))
async def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Catalog]:
    opened = kit.CATALOGS[request.param](tmp_path)
    yield opened
    await opened.close()
