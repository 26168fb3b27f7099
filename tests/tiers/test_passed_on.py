"""What the cache in the middle knows of its answer reaches whoever asked through another one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.core.manifests import OCI_MANIFEST
from tests.cast import FaultUpstream, roles
from tests.scenarios.house import APP, NAME, MiB, blob_path, manifest_path
from tests.scenarios.process import Site, site
from tests.scenarios.shelf import put_image
from tests.tiers.cast import tier

Bytes = Callable[[int], bytes]
AGED = {"ttl": "0s", "stale_if_error": "1h", "revalidate_timeout": "20s"}


@asynccontextmanager
async def row(folder: Path, upstreams: Mapping[str, Any], caches: int, **settings: Any) -> AsyncIterator[list[Site]]:
    """The first is before the registries, the last one is asked."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(site(folder / "central", "", {"upstreams": upstreams, **settings}))
        made = [first]
        for number in range(1, caches):
            before = {"upstreams": tier(f"http://127.0.0.1:{made[-1].port}"), **settings}
            made.append(await stack.enter_async_context(site(folder / f"tier{number}", "", before)))
        yield made
        for each in reversed(made):
            await each.stop()


@pytest.mark.parametrize("caches", [2, 3])
async def test_stale_is_passed_on_with_its_age_and_its_warning(
    caches: int, tmp_path: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    image = put_image(upstream, "v1", some_bytes(1000))
    async with row(tmp_path, {NAME: {"url": upstream.url}}, caches, tags=AGED) as made:
        assert (await made[-1].get(manifest_path("v1"))).headers["cache-status"] == "entrepot; fwd=miss; stored"
        await upstream.vanish()
        for each in reversed(made):
            stale = await each.get(manifest_path("v1"))
            assert (stale.status, stale.headers["cache-status"]) == (200, "entrepot; hit; detail=stale")
            assert stale.headers["warning"] == '299 - "served stale: upstream does not answer"'
            assert 0 <= int(stale.headers["age"]) < 100
        tags = await made[-1].get(f"/v2/{NAME}/{APP}/tags/list")
        assert (tags.status, tags.headers["cache-status"]) == (200, "entrepot; hit; detail=stale")
        assert "warning" in tags.headers
        for part in image.parts:
            assert (await made[0].get(blob_path(part))).status == 502, "it was never pulled"


async def test_what_a_new_node_is_told_stale_it_tells_as_stale(
    tmp_path: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    put_image(upstream, "v1", some_bytes(1000))
    async with row(tmp_path, {NAME: {"url": upstream.url}}, 2, tags={**AGED, "ttl": "1s"}) as (central, node):
        assert (await central.get(manifest_path("v1"))).status == 200
        await upstream.vanish()
        while (told := await central.get(manifest_path("v1"))).headers["cache-status"] == "entrepot; hit":
            pass
        assert told.headers["cache-status"].endswith("detail=stale")
        for _ in range(2):  # nor does having been told once make it fresh
            told = await node.get(manifest_path("v1"))
            assert (told.status, told.headers["cache-status"]) == (200, "entrepot; hit; detail=stale")
            assert int(told.headers["age"]) >= 1


async def test_a_limit_of_one_registry_reaches_the_client_with_its_time_and_stops_no_other(
    tmp_path: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    put_image(upstream, "v1", some_bytes(1000))
    async with FaultUpstream() as other:
        put_image(other, "v1", some_bytes(1000))
        known = {NAME: {"url": upstream.url}, "other.test": {"url": other.url}}
        async with row(tmp_path, known, 3) as made:
            upstream.always("manifest", roles.limits("37"))
            limited = await made[-1].get(manifest_path("v1"))
            assert limited.status == 429
            assert 30 <= int(limited.headers["retry-after"]) <= 37
            assert (await made[-1].get(manifest_path("v1", registry="other.test"))).status == 200


async def test_the_quota_of_the_registry_is_told_on(tmp_path: Path, upstream: FaultUpstream) -> None:
    quota = {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "76;w=21600"}
    raw = b'{"schemaVersion":2,"config":{},"layers":[]}'
    upstream.page(f"/v2/{APP}/manifests/v1", raw, {"Content-Type": OCI_MANIFEST, **quota})
    async with row(tmp_path, {NAME: {"url": upstream.url}}, 3) as made:
        told = await made[-1].get(manifest_path("v1"))
        assert (told.headers["ratelimit-limit"], told.headers["ratelimit-remaining"]) == tuple(quota.values())
        status = await made[-1].command("status", "--json")
        assert '"rate_limit_remaining": 76' in status.stdout


async def test_who_waits_behind_caches_has_the_first_bytes_at_once_and_the_rest_however_slow_the_registry_is(
    tmp_path: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    """A cache that hears nothing for its ``timeouts.stall`` asks the next one again, which is still fetching."""
    blob, gate = some_bytes(2 * MiB), asyncio.Event()
    digest = upstream.blob(APP, blob)
    upstream.plays("blob", roles.holds(MiB, gate))
    async with row(tmp_path, {NAME: {"url": upstream.url}}, 2) as (_, between):
        hasty = {"timeouts": {"stall": "1s"}, "transfers": {"patience": "10m"}}
        before = {"upstreams": tier(f"http://127.0.0.1:{between.port}"), **hasty}
        async with site(tmp_path / "node", "", before) as node:
            client = await node.pull(blob_path(digest))
            async with client:
                assert (await client.head()).status == 200
                begun = await client.received(MiB // 2)
                while between.output.read_text().count(f"/blobs/{digest}") < 4:  # cut short, and asked again
                    await asyncio.sleep(0.05)
                gate.set()
                assert begun + await client.received(len(blob) - len(begun)) == blob
            await node.stop()
        assert [seen.sent for seen in upstream.requests("blob")] == [len(blob)]
