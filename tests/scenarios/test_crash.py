"""Killed, stopped and started again, as a real process."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cast import FaultUpstream, roles
from tests.scenarios.client import Cut
from tests.scenarios.house import APP, MiB, blob_path, manifest_path
from tests.scenarios.invariants import fetches, stored
from tests.scenarios.process import Site, site

Bytes = Callable[[int], bytes]
RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'


async def test_killed_in_the_middle_of_a_fill_it_keeps_nothing_half_born(
    tmp_path: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    held = upstream.blob(APP, kept := some_bytes(MiB))
    digest = upstream.blob(APP, blob := some_bytes(4 * MiB))
    async with site(tmp_path, upstream.url) as entrepot:
        assert (await entrepot.get(blob_path(held))).body == kept
        async with asyncio.timeout(10):
            while entrepot.half_born() or stored(entrepot.folder) != {held: MiB}:  # the client is done before the disk
                await asyncio.sleep(0.01)
        upstream.plays("blob", roles.stalls(2 * MiB))
        async with await entrepot.pull(blob_path(digest)) as client:
            await client.head()
            await client.received(MiB)
            await entrepot.kill()
            with pytest.raises(Cut):
                await client.received(3 * MiB)
        assert len(entrepot.half_born()) == 1
        assert stored(entrepot.folder) == {held: MiB}
        await entrepot.start()
        async with asyncio.timeout(10):
            while entrepot.half_born():
                await asyncio.sleep(0.02)
        hit = await entrepot.get(blob_path(held))
        assert (hit.body, hit.headers["cache-status"]) == (kept, "entrepot; hit")
        assert (await entrepot.get(blob_path(digest))).body == blob
        await entrepot.stop()
    assert fetches(upstream, held) == 1
    assert stored(tmp_path / "cache") == {held: MiB, digest: 4 * MiB}


async def test_killed_right_after_a_pull_it_holds_all_or_nothing_of_it(
    tmp_path: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    async with site(tmp_path, upstream.url) as entrepot:
        for round_ in range(4):
            blobs = {upstream.blob(APP, blob): blob for blob in (some_bytes(300_000) for _ in range(4))}
            upstream.manifest(APP, f"v{round_}", RAW)
            replies = await asyncio.gather(
                *(entrepot.get(blob_path(digest)) for digest in blobs), entrepot.get(manifest_path(f"v{round_}"))
            )
            assert {reply.status for reply in replies} == {200}
            await entrepot.kill()
            stored(entrepot.folder)  # every name stands for its bytes
            await entrepot.start()
            for digest, blob in blobs.items():
                assert (await entrepot.get(blob_path(digest))).body == blob
            assert (await entrepot.get(manifest_path(f"v{round_}"))).body == RAW
        await entrepot.stop()
    assert not any((tmp_path / "cache" / "ingest").iterdir())


async def test_asked_to_stop_it_says_so_and_finishes_what_is_under_way(
    tmp_path: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(4 * MiB))
    upstream.plays("blob", roles.holds(2 * MiB, gate := asyncio.Event()))
    async with site(tmp_path, upstream.url, {"drain": {"delay": "1s", "timeout": "20s"}}) as entrepot:
        assert (await entrepot.ask_admin("/readyz")).status == 200
        async with await entrepot.pull(blob_path(digest)) as client:
            head = await client.head()
            entrepot.signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                while (await entrepot.ask_admin("/readyz")).status == 200:
                    await asyncio.sleep(0.01)
            assert (await entrepot.get("/v2/")).status == 200  # until load balancers have noticed
            async with asyncio.timeout(10):
                while await _listens(entrepot):
                    await asyncio.sleep(0.02)
            gate.set()
            assert await client.rest(head) == blob
        assert await entrepot.ended() == 0
    assert stored(entrepot.folder) == {digest: len(blob)}


async def _listens(entrepot: Site) -> bool:
    try:
        await entrepot.get("/v2/")
    except (OSError, Cut):
        return False
    return True


async def test_asked_twice_it_stops_at_once(tmp_path: Path, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    digest = upstream.blob(APP, some_bytes(4 * MiB))
    upstream.plays("blob", roles.stalls(2 * MiB))
    async with site(tmp_path, upstream.url, {"drain": {"delay": "300s", "timeout": "300s"}}) as entrepot:
        client = await entrepot.pull(blob_path(digest))
        head = await client.head()
        entrepot.signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            while (await entrepot.ask_admin("/readyz")).status == 200:
                await asyncio.sleep(0.01)
        entrepot.signal(signal.SIGTERM)
        assert await entrepot.ended() == 0
        with pytest.raises(Cut):
            await client.rest(head)
        client.leave()
    assert entrepot.half_born() == []
    assert stored(entrepot.folder) == {}


async def test_a_second_process_on_the_same_folder_is_refused(tmp_path: Path, upstream: FaultUpstream) -> None:
    (tmp_path / "second").mkdir()
    async with site(tmp_path, upstream.url) as entrepot:
        second = Site(tmp_path / "second", upstream.url, {"cache": {"path": str(entrepot.folder), "min_free": 0}})
        await second.launch()
        assert await second.ended() == 2
        assert "in use by process" in second.output.read_text()
        assert (await entrepot.get("/v2/")).status == 200
        await entrepot.kill()
        await second.start()  # the lock died with its owner
        await second.dispose()


async def test_an_address_in_use_is_told_and_ends_it(tmp_path: Path, upstream: FaultUpstream) -> None:
    (tmp_path / "second").mkdir()
    async with site(tmp_path, upstream.url) as entrepot:
        second = Site(tmp_path / "second", upstream.url, {"listen": f"127.0.0.1:{entrepot.port}"})
        await second.launch()
        assert await second.ended() == 1
        assert "cannot listen" in second.output.read_text()
        await entrepot.stop()


async def test_with_the_catalog_gone_after_a_kill_everything_is_won_again(
    tmp_path: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(MiB))
    async with site(tmp_path, upstream.url) as entrepot:
        await entrepot.get(blob_path(digest))
        await entrepot.kill()
        for ending in ("", "-wal", "-shm", ".backup"):
            (entrepot.folder / f"catalog{ending}").unlink(missing_ok=True)
        (entrepot.folder / "catalog").write_bytes(os.urandom(8192))
        await entrepot.start()
        assert (await entrepot.get(blob_path(digest))).body == blob
        await entrepot.stop()
    assert stored(entrepot.folder) == {digest: MiB}


# ------------------------------------------------------------ secrets

CANARIES = ("canary-user-7f31", "canary-password-9c02", "canary-token")


async def test_no_secret_is_ever_said(tmp_path: Path, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    user, password, token = CANARIES
    secret = tmp_path / "password"
    secret.write_text(f"{password}\n")
    secret.chmod(0o600)
    guard = upstream.guard()
    guard.user = (user, password)
    upstream.plays("token", roles.answers(200, f'{{"token":"{token}"}}'.encode()))
    guard.good.add(token)
    digest = upstream.blob(APP, some_bytes(MiB))
    settings = {
        "log": {"format": "json", "level": "debug"},
        "upstreams": {
            "registry.test": {
                "url": upstream.url,
                "auth": {"type": "basic", "username": user, "password_file": str(secret)},
            }
        },
    }
    async with site(tmp_path, upstream.url, settings) as entrepot:
        pulled = await entrepot.get(blob_path(digest))
        assert pulled.status == 200
        upstream.always("token", roles.refuses(401))
        guard.revoke()
        failed = await entrepot.get(manifest_path("v1"))
        assert failed.status == 502, "that our own credentials are refused is no answer about the tag"
        seen = [str((failed.headers, failed.body))]
        for path in ("/metrics", "/api/v1/status", "/healthz"):
            reply = await entrepot.ask_admin(path)
            assert reply.status == 200
            seen.append(reply.body.decode())
        await entrepot.stop()
        seen.append(entrepot.output.read_text())
    assert any(seen.headers.get("authorization", "").endswith(token) for seen in upstream.requests("blob"))
    for canary in (password, token):
        assert not [text for text in seen if canary in text]
