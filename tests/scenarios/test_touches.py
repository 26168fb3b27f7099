"""Upstream's own record of pulls stays honest: one manifest GET for each digest that is served, and period."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cast import FaultUpstream, roles
from tests.scenarios.client import Client
from tests.scenarios.ecr.stage import DAY, App, Clock, image, running

NAME = "registry.test"


@pytest.fixture
def unpaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.cache.touches._PAUSE", 0.0)


@asynccontextmanager
async def touching(upstream: FaultUpstream, folder: Path, **more: Any) -> AsyncIterator[App]:
    document = {"upstreams": {NAME: {"url": upstream.url, "touch_upstream": "24h", "access_ttl": "30d"}}, **more}
    async with running(folder / "app", document, Clock()) as app:
        yield app


async def touched(app: App, count: int) -> None:
    async with asyncio.timeout(10):
        while f"entrepot_upstream_touches_total {count}.0" not in await app.metrics():
            await asyncio.sleep(0.01)


async def test_a_digest_is_touched_once_a_period_however_often_it_is_pulled(
    upstream: FaultUpstream, tmp_path: Path, unpaced: None
) -> None:
    digests = [image(upstream, "team/app", f"v{number}", b"%d" % number)[0] for number in range(3)]
    async with touching(upstream, tmp_path) as app:
        for day in range(3):
            app.clock.ahead = day * (DAY + 61)
            for _ in range(10):
                for digest in digests:
                    assert (await app.manifest(f"team/app@{digest}", NAME)).status == 200
            await touched(app, 3 * (day + 1))
    asked = [(seen.method, seen.target) for seen in upstream.requests("manifest")]
    assert len(asked) == 3 + 3 * 3  # the misses, and a touch for each digest and day
    assert {method for method, _ in asked} == {"GET"}
    assert all(f"/v2/team/app/manifests/{digest}" in {target for _, target in asked} for digest in digests)


async def test_hits_that_the_lane_answers_from_prepared_bytes_count_as_pulls(
    upstream: FaultUpstream, tmp_path: Path, unpaced: None
) -> None:
    image(upstream, "team/app", "v1", b"1")
    async with touching(upstream, tmp_path, tags={"ttl": "30d"}) as app:
        for _ in range(2):  # a miss, and a hit of the whole road: then it is in memory
            assert (await app.manifest("team/app:v1", NAME)).status == 200
        await touched(app, 1)
        async with await Client.connect(app.port) as client:
            for day in range(1, 4):
                app.clock.ahead = day * (DAY + 61)
                for _ in range(5):
                    await client.ask(f"/v2/{NAME}/team/app/manifests/v1")
                    assert (await client.reply()).headers["cache-status"] == "entrepot; hit"
                await touched(app, day + 1)
    assert len(upstream.requests("manifest")) == 1 + 4


async def test_touches_are_paced(upstream: FaultUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.cache.touches._PAUSE", 3600.0)
    digests = [image(upstream, "team/app", f"v{number}", b"%d" % number)[0] for number in range(20)]
    async with touching(upstream, tmp_path) as app:
        for digest in digests * 2:
            assert (await app.manifest(f"team/app@{digest}", NAME)).status == 200
        await touched(app, 1)
        await asyncio.sleep(0.1)
        assert len(upstream.requests("manifest")) == len(digests) + 1


async def test_a_touch_that_fails_is_nobodys_trouble(upstream: FaultUpstream, tmp_path: Path, unpaced: None) -> None:
    digest, _ = image(upstream, "team/app", "v1", b"1")
    async with touching(upstream, tmp_path) as app:
        assert (await app.manifest(f"team/app@{digest}", NAME)).status == 200
        upstream.always("manifest", roles.refuses(403))
        assert (await app.manifest(f"team/app@{digest}", NAME)).status == 200
        async with asyncio.timeout(10):
            while "was not touched upstream" not in app.log.read_text():
                await asyncio.sleep(0.01)
        assert (await app.manifest(f"team/app@{digest}", NAME)).status == 200
        upstream.always("manifest", roles.steady)
        app.clock.ahead = DAY + 61
        assert (await app.manifest(f"team/app@{digest}", NAME)).status == 200
        await touched(app, 1)


async def test_nothing_is_touched_where_nobody_asked_for_it(
    upstream: FaultUpstream, tmp_path: Path, unpaced: None
) -> None:
    digest, _ = image(upstream, "team/app", "v1", b"1")
    async with running(
        tmp_path / "app", {"upstreams": {NAME: {"url": upstream.url, "access_ttl": "30d"}}}, Clock()
    ) as app:
        for day in range(3):
            app.clock.ahead = day * DAY
            assert (await app.manifest(f"team/app@{digest}", NAME)).status == 200
        await asyncio.sleep(0.1)
        assert "entrepot_upstream_touches_total 0.0" in await app.metrics()
    assert len(upstream.requests("manifest")) == 1
