"""Staging that a killed process left behind: it goes behind the start, and nothing waits for it."""

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from proxy.core.names import Digest
from proxy.storage.disk import DiskStore
from tests.cast import FaultUpstream, roles
from tests.scenarios.client import Cut
from tests.scenarios.house import APP, House, MiB, blob_path, manifest_path
from tests.scenarios.invariants import fetches, index_is_disk, stored
from tests.scenarios.process import Site, site
from tests.scenarios.shelf import pull, put_image

Bytes = Callable[[int], bytes]
FILES = 20_000
CLAIMED = 20 << 30  # bytes, of files that are all hole


def litter(folder: Path, files: int, claimed: int = 0) -> None:
    """Ingests of a life before: small ones, and four that claim so many bytes together."""
    ingest = os.open(folder / "ingest", os.O_RDONLY)
    try:
        for number in range(files):
            os.close(os.open(f"{number:032x}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=ingest))
    finally:
        os.close(ingest)
    for number in range(4 if claimed else 0):
        with (folder / "ingest" / f"{'f' * 31}{number}").open("wb") as file:
            file.truncate(claimed // 4)


class Sweep:
    """Waits for the scene where it was told to."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.go_on.set()
        self.swept: int | None = None  # by the last one

    def hold(self) -> None:
        """From the next start on, until ``go_on`` is set."""
        self.go_on.clear()
        self.swept = None

    async def ended(self) -> int:
        async with asyncio.timeout(30):
            while self.swept is None:
                await asyncio.sleep(0.005)
        return self.swept


@pytest.fixture
def sweep(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sweep]:
    """Of the house from now on. Ends before the house does, whose end waits for the threads of its store."""
    told, sweep = Sweep(), DiskStore.sweep

    def when_told(store: DiskStore) -> int:
        assert told.go_on.wait(30), "the scene has not let it go on"
        told.swept = sweep(store)
        return told.swept

    monkeypatch.setattr(DiskStore, "sweep", when_told)
    yield told
    told.go_on.set()


def staged(folder: Path) -> set[str]:
    return set(os.listdir(folder / "ingest"))


async def test_a_start_serves_hits_and_misses_before_anything_is_swept(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, sweep: Sweep
) -> None:
    held = put_image(upstream, "v1", some_bytes(MiB))
    await pull(house, held, "v1")
    await house.stop()
    litter(house.folder, 200, CLAIMED)
    left = staged(house.folder)
    sweep.hold()
    await house.start()
    budget = house.cache.holdings.budget
    assert (budget.committed, budget.reserved) == (sum(stored(house.folder).values()), 0), "what has no name is nothing"
    hit = await house.get(blob_path(held.parts[1]))
    assert (hit.status, hit.headers["cache-status"]) == (200, "entrepot; hit")
    missed = put_image(upstream, "v2", some_bytes(MiB))
    for path in (manifest_path("v2"), *map(blob_path, missed.parts)):
        reply = await house.get(path)
        assert (reply.status, reply.headers["cache-status"]) == (200, "entrepot; fwd=miss; stored")
    assert staged(house.folder) >= left, "all of it is still there"
    sweep.go_on.set()
    assert await sweep.ended() == 204
    await house.quiet()
    assert staged(house.folder) == set()
    assert set(stored(house.folder)) == held.all | missed.all
    await index_is_disk(house)


async def test_a_sweep_spares_a_fill_that_began_before_it(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, sweep: Sweep
) -> None:
    await house.stop()
    litter(house.folder, 200)
    left = staged(house.folder)
    sweep.hold()
    await house.start()
    digest = upstream.blob(APP, blob := some_bytes(2 * MiB))
    upstream.plays("blob", roles.holds(MiB, gate := asyncio.Event()))
    async with await house.pull(blob_path(digest)) as client:
        head = await client.head()
        assert await client.received(1000) == blob[:1000]
        [arriving] = staged(house.folder) - left
        sweep.go_on.set()
        assert await sweep.ended() == 200
        assert staged(house.folder) == {arriving}
        gate.set()
        assert await client.rest(head._replace(headers={"content-length": str(len(blob) - 1000)})) == blob[1000:]
    await house.quiet()
    hit = await house.get(blob_path(digest))
    assert (hit.body, hit.headers["cache-status"]) == (blob, "entrepot; hit")
    assert fetches(upstream, digest) == 1


async def test_twenty_thousand_files_and_twenty_gigabytes_are_gone_soon_after_a_kill_and_hold_nobody_up(
    tmp_path: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    held = upstream.blob(APP, kept := some_bytes(MiB))
    blobs = {held: kept}
    async with site(tmp_path, upstream.url) as entrepot:
        assert (await entrepot.get(blob_path(held))).body == kept
        await committed(entrepot, blobs)
        upstream.plays("blob", roles.stalls(MiB))
        async with await entrepot.pull(blob_path(upstream.blob(APP, some_bytes(2 * MiB)))) as client:
            await client.head()
            await client.received(1000)
            await entrepot.kill()
            with pytest.raises(Cut):
                await client.received(2 * MiB)
        litter(entrepot.folder, FILES, CLAIMED)
        left = staged(entrepot.folder)
        assert len(left) == FILES + 5
        await entrepot.start()
        await entrepot.kill()  # wherever the sweep is
        await entrepot.start()
        assert (await entrepot.ask_admin("/readyz")).status == 200
        async with asyncio.timeout(30):
            while left & staged(entrepot.folder):
                hit = await entrepot.get(blob_path(held))
                assert (hit.body, hit.headers["cache-status"]) == (kept, "entrepot; hit")
                digest = upstream.blob(APP, blob := some_bytes(10_000))
                missed = await entrepot.get(blob_path(digest))
                assert (missed.body, missed.headers["cache-status"]) == (blob, "entrepot; fwd=miss; stored")
                blobs[digest] = blob
        await committed(entrepot, blobs)
        assert staged(entrepot.folder) == set()
        for digest, blob in blobs.items():
            assert (await entrepot.get(blob_path(digest))).body == blob
        await entrepot.stop()
    assert stored(entrepot.folder) == {digest: len(blob) for digest, blob in blobs.items()}
    assert all(fetches(upstream, digest) == 1 for digest in blobs)


async def committed(entrepot: Site, blobs: Mapping[Digest, bytes]) -> None:
    """By its own account it soon holds these, and has set nothing aside."""
    size = sum(map(len, blobs.values()))
    async with asyncio.timeout(10):
        while (counted := await counts(entrepot)) != (size, 0):
            assert counted[0] <= size
            await asyncio.sleep(0.01)


async def counts(entrepot: Site) -> tuple[int, int]:
    cache = json.loads((await entrepot.ask_admin("/api/v1/status")).body)["cache"]
    return cache["committed_bytes"], cache["reserved_bytes"]
