"""Store and catalog fail while pulls go on: each client gets its answer, and all heals by itself."""

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from errno import EDQUOT, EIO, EMFILE, ENOSPC, EROFS

import pytest

from proxy.core.errors import NoSpace, StoreFailed
from proxy.core.freshness import TagRules
from proxy.core.manifests import OCI_MANIFEST
from proxy.core.names import Digest
from proxy.storage.database import Database
from tests.cast import FaultUpstream, ManualClock
from tests.scenarios.conftest import under
from tests.scenarios.house import APP, House, MiB, blob_path, manifest_path

Bytes = Callable[[int], bytes]
AT_ONCE = TagRules(ttl=0.0)


def manifest(layer: Digest) -> bytes:
    part = {"mediaType": "application/octet-stream", "digest": layer, "size": MiB}
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": part, "layers": [part]}).encode()


class Refusing:
    """Calls that fail; ``fired`` counts them."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause
        self.fired = 0

    def __call__(self, *_: object, **__: object) -> None:
        self.fired += 1
        raise self.cause


@under(tags=AT_ONCE)
@pytest.mark.parametrize("fault", [NoSpace("no space for the catalog"), StoreFailed("catalog: disk I/O error")])
async def test_a_catalog_that_takes_no_writes_costs_no_answer(
    house: House,
    upstream: FaultUpstream,
    clock: ManualClock,
    some_bytes: Bytes,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
) -> None:
    layer, new = some_bytes(MiB), some_bytes(MiB)
    old = upstream.manifest(APP, "v1", manifest(upstream.blob(APP, layer)))
    assert (await house.get(manifest_path("v1"))).status == 200
    await house.quiet()
    refusing = Refusing(fault)
    with monkeypatch.context() as patched:
        patched.setattr(Database, "write", refusing)
        moved = upstream.manifest(APP, "v1", manifest(upstream.blob(APP, new)))
        for _ in range(2):
            clock.advance(1)
            for reference in ("v1", old, moved):
                assert (await house.get(manifest_path(reference))).status == 200
            for content in (layer, new):
                assert (await house.get(blob_path(upstream.blob(APP, content)))).body == content
        assert (await house.get(manifest_path("v1"))).headers["docker-content-digest"] == moved
        await house.quiet()
        await house.cache.upkeep.tend()
    assert refusing.fired
    await house.cache.upkeep.tend()
    for _ in range(2):
        clock.advance(1)
        reply = await house.get(manifest_path("v1"))
        await house.quiet()
    assert reply.headers["docker-content-digest"] == moved
    assert house.catalog.health.trouble == {}


@under(soft=20 * MiB)
async def test_bytes_that_the_catalog_could_not_be_told_of_make_room_before_what_is_held(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = [blob_path(upstream.blob(APP, some_bytes(MiB))) for _ in range(4)]
    for path in held:
        assert (await house.get(path)).status == 200
    await house.quiet()
    large = blob_path(upstream.blob(APP, some_bytes(9 * MiB)))
    refusing = Refusing(StoreFailed("catalog: disk I/O error"))
    with monkeypatch.context() as patched:
        patched.setattr(Database, "write", refusing)
        assert (await house.get(large)).status == 200
        await house.quiet()
    assert refusing.fired
    assert house.cache.holdings.has_leftovers()
    for path, outcome in ((large, "entrepot; fwd=miss; stored"), *((path, "entrepot; hit") for path in [large, *held])):
        assert (await house.get(path)).headers["cache-status"] == outcome
        await house.quiet()


@pytest.mark.parametrize("number", [ENOSPC, EIO, EROFS, EDQUOT, EMFILE])
@pytest.mark.parametrize("call", ["pwrite", "fsync", "rename"])
async def test_a_store_that_takes_nothing_passes_through_and_heals(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, monkeypatch: pytest.MonkeyPatch, number: int, call: str
) -> None:
    content = some_bytes(MiB)
    digest, refusing = upstream.blob(APP, content), Refusing(OSError(number, os.strerror(number)))
    with monkeypatch.context() as patched:
        patched.setattr(f"os.{call}", refusing)
        assert (await house.get(blob_path(digest))).body == content
        await house.quiet()
    assert refusing.fired
    assert list(house.catalog.health.trouble) == ["store"]
    await house.cache.upkeep.tend()
    assert house.catalog.health.trouble == {}
    assert (await house.get(blob_path(digest))).body == content
    await house.quiet()
    assert await house.catalog.contents.get(digest) is not None


@pytest.mark.parametrize("call", ["proxy.storage.ingest.DiskIngest.open", "proxy.storage.ingest.Ingests._new"])
async def test_openings_that_fail_leave_neither_file_nor_descriptor(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    content = some_bytes(MiB)
    digest, refusing = upstream.blob(APP, content), Refusing(StoreFailed("cannot open: Too many open files"))
    with monkeypatch.context() as patched:
        patched.setattr(call, refusing)
        await house.get(blob_path(digest))
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(30):
            assert (await house.get(blob_path(digest))).body == content
        await house.quiet()
    assert refusing.fired == 31
    assert len(os.listdir("/proc/self/fd")) <= before + 4, "connections to upstream, and no more"
    assert house.cache.holdings.budget.reserved == 0


@pytest.mark.parametrize("gone", ["", "blobs", "ingest", "catalog"])
@under(tags=AT_ONCE)
async def test_what_vanished_under_the_process_is_made_again(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, gone: str
) -> None:
    layer = some_bytes(MiB)
    digest = upstream.blob(APP, layer)
    upstream.manifest(APP, "v1", manifest(digest))

    async def pulled() -> None:
        assert (await house.get(manifest_path("v1"))).status == 200
        assert (await house.get(blob_path(digest))).body == layer

    await pulled()
    await house.quiet()
    for path in [house.folder / gone] if gone else list(house.folder.iterdir()):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    await pulled()
    await house.cache.upkeep.tend()
    for _ in range(2):
        await pulled()
        await house.quiet()
    assert await house.catalog.contents.get(digest) is not None
    assert house.catalog.health.trouble == {}
    await house.restart()
    await pulled()
    assert house.outcomes()["hit"]


async def test_a_scrub_whose_place_cannot_be_written_goes_on_when_it_can(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pause in ("_FIRST", "_REST"):
        monkeypatch.setattr(f"proxy.cache.scrub.{pause}", 0.0)
    assert (await house.get(blob_path(upstream.blob(APP, some_bytes(MiB))))).status == 200
    await house.quiet()
    scrub = house.cache.maintenance.scrub
    refusing = Refusing(NoSpace("no space for the catalog"))
    with monkeypatch.context() as patched:
        patched.setattr(Database, "write", refusing)
        kept = asyncio.create_task(scrub.run())
        while refusing.fired < 3:
            await asyncio.sleep(0)
    while await house.catalog.notes.note("scrub") != json.dumps({"began_at": house.cache.fills.now(), "after": "~"}):
        assert not kept.done()
        await asyncio.sleep(0.001)
    assert scrub.stats.contents
    kept.cancel()
