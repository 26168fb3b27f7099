import asyncio
from tests.cast import FaultUpstream, roles
from tests.scenarios.house import APP, House, MiB, blob_path

async def test_a(house: House, upstream: FaultUpstream, some_bytes) -> None:
    digest = upstream.blob(APP, blob := some_bytes(4 * MiB))
    upstream.plays("blob", roles.holds(2 * MiB, asyncio.Event()))
    async with await house.pull(blob_path(digest)) as client:
        await client.head()
        assert 0
async def test_b(house: House, upstream: FaultUpstream, some_bytes) -> None:
    digest = upstream.blob(APP, blob := some_bytes(4 * MiB))
    upstream.plays("blob", roles.holds(2 * MiB, asyncio.Event()))
    client = await house.pull(blob_path(digest))
    await client.head()
    assert 0
async def test_c(house: House, upstream: FaultUpstream, some_bytes) -> None:
    client = await house.pull("/v2/")
    assert 0
