"""What a thread brings when nobody waits for it any more."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from proxy.cache.holdings import Holdings, Provenance
from proxy.cache.threads import StoreThreads, start_threads
from proxy.core.budget import Budget, ByteLimits
from proxy.core.names import Digest, Repository
from proxy.storage.catalog import SqliteCatalog
from proxy.storage.contract import BlobReader, Content
from proxy.storage.disk import DiskStore

RAW = b"held"
HELD = Content(Digest.of(RAW), len(RAW), "", 1.0, 1.0, "docker.io")


async def test_a_caller_who_leaves_while_content_is_opened_leaves_no_reader_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, opening, gate, opened = DiskStore(tmp_path), threading.Event(), threading.Event(), list[BlobReader]()
    open_at_once = store.open

    def open_late(digest: Digest) -> BlobReader:
        opening.set()
        assert gate.wait(10)
        opened.append(open_at_once(digest))
        return opened[0]

    catalog = SqliteCatalog(tmp_path)
    with ThreadPoolExecutor(1) as threads:
        holdings = Holdings(store, catalog, Budget(ByteLimits(1000)), StoreThreads(*[threads] * 4), lambda: 1.0)
        ingest, reservation = holdings.store.begin(), holdings.budget.reserve(HELD.size)
        assert reservation is not None
        ingest.write(0, RAW)
        await holdings.commit(ingest, HELD, Provenance(Repository("docker.io", "library/nginx")), reservation)
        monkeypatch.setattr(store, "open", open_late)
        caller = asyncio.create_task(holdings.open(HELD))
        assert await asyncio.to_thread(opening.wait, 10)
        caller.cancel()
        with suppress(asyncio.CancelledError):
            await caller
        assert caller.cancelled()
        gate.set()
    assert [reader.fileno() for reader in opened] == [-1], "closed by itself"
    assert not holdings.is_open(HELD.digest)
    await catalog.close()
    store.close()


async def test_what_is_opened_never_waits_behind_what_is_committed_removed_or_read_again(tmp_path: Path) -> None:
    store, catalog, gate = DiskStore(tmp_path), SqliteCatalog(tmp_path), threading.Event()
    with start_threads(1) as threads:
        holdings = Holdings(store, catalog, Budget(ByteLimits(1000)), threads.store, lambda: 1.0)
        ingest, reservation = holdings.store.begin(), holdings.budget.reserve(HELD.size)
        assert reservation is not None
        ingest.write(0, RAW)
        await holdings.commit(ingest, HELD, Provenance(Repository("docker.io", "library/nginx")), reservation)
        stuck = [
            pool.submit(gate.wait, 60)
            for pool in (threads.store.committing, threads.store.removing, threads.store.behind)
            for _ in range(40)
        ]
        async with asyncio.timeout(20):
            body = await holdings.open(HELD)
        assert body is not None
        assert not any(each.done() for each in stuck), "and they are still at it"
        body.close()
        gate.set()
    await catalog.close()
    store.close()
