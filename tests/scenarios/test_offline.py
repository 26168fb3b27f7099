"""Upstreams that are not to be asked, as a real process."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from tests.cast import FaultUpstream
from tests.scenarios.house import APP, NAME, blob_path, manifest_path
from tests.scenarios.process import site
from tests.scenarios.shelf import put_image

Bytes = Callable[[int], bytes]
AGED = {"ttl": "0s", "stale_if_error": "0s"}


async def test_offline_what_is_held_is_served_however_old_and_nobody_is_asked(
    tmp_path: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    image = put_image(upstream, "v1", some_bytes(10_000))
    unheld = upstream.blob(APP, some_bytes(1000))
    async with site(tmp_path, upstream.url, {"tags": AGED}) as entrepot:
        for path in (manifest_path("v1"), *map(blob_path, image.parts)):
            assert (await entrepot.get(path)).status == 200
        async with asyncio.timeout(10):
            while entrepot.half_born():
                await asyncio.sleep(0.01)
        entrepot.rewrite(offline=True)
        result = json.loads((await entrepot.command("reload", "--json")).stdout)
        assert (result["applied"], result["needsRestart"]) == (["offline"], [])
        asked = len(upstream.requests())
        by_tag = await entrepot.get(manifest_path("v1"))
        assert (by_tag.status, by_tag.headers["cache-status"]) == (200, "entrepot; hit; detail=offline")
        for part in image.parts:
            assert (await entrepot.get(blob_path(part))).status == 200
        tags = await entrepot.get(f"/v2/{NAME}/{APP}/tags/list")
        assert (json.loads(tags.body)["tags"], tags.headers["cache-status"]) == (
            ["v1"],
            "entrepot; hit; detail=offline",
        )
        for path in (manifest_path("v9"), blob_path(unheld), f"/v2/{NAME}/other/tags/list"):
            refused = await entrepot.get(path)
            assert (refused.status, b"offline by configuration" in refused.body) == (404, True), path
        assert len(upstream.requests()) == asked
        status = json.loads((await entrepot.ask_admin("/api/v1/status")).body)
        assert status["upstreams"][NAME]["offline"]
        metrics = (await entrepot.ask_admin("/metrics")).body.decode()
        assert f'entrepot_upstream_offline{{upstream="{NAME}"}} 1.0' in metrics
        await entrepot.restart()
        assert (await entrepot.get(manifest_path("v1"))).headers["cache-status"].endswith("detail=offline")
        assert len(upstream.requests()) == asked, "nor at the start"
        entrepot.rewrite(offline=False)
        await entrepot.command("reload")
        assert (await entrepot.get(blob_path(unheld))).status == 200
        await entrepot.stop()


async def test_one_upstream_may_be_offline_alone(tmp_path: Path, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    put_image(upstream, "v1", some_bytes(1000))
    both = {NAME: {"url": upstream.url, "offline": True}, "open.test": {"url": upstream.url}}
    async with site(tmp_path, upstream.url, {"upstreams": both}) as entrepot:
        assert (await entrepot.get(manifest_path("v1"))).status == 404
        assert (await entrepot.get(manifest_path("v1", registry="open.test"))).status == 200
        await entrepot.stop()
