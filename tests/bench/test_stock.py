"""A cache that was made for measuring holds what it is said to hold."""

import asyncio
from pathlib import Path

from proxy.core.names import Repository
from proxy.storage.catalog import SqliteCatalog
from proxy.storage.contract import HeldImage
from tests.bench.stock import SIZE, UPSTREAM, stock_images

WITH_LAYERS = 5 * SIZE  # bytes


async def images(cache: Path) -> list[HeldImage]:
    catalog = SqliteCatalog(cache)
    try:
        return await catalog.contents.images(Repository(UPSTREAM, "some/app"), "", 100)
    finally:
        await catalog.close()


def test_a_stock_of_images_is_one_of_images(tmp_path: Path) -> None:
    stock_images(tmp_path, ["some/app"], 20)
    assert [image.size for image in asyncio.run(images(tmp_path))] == [WITH_LAYERS] * 20
