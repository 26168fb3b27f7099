"""Tags declared immutable: believed for ever, looked at once a day, and what moved upstream is told."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.core.names import Digest
from tests.cast import Act, FaultUpstream, roles
from tests.scenarios.ecr.stage import DAY, App, Clock, image, running

NAME = "registry.test"


@pytest.fixture
async def app(upstream: FaultUpstream, tmp_path: Path) -> AsyncIterator[App]:
    document = {
        "upstreams": {NAME: {"url": upstream.url, "access_ttl": "30d"}},
        "tags": {"immutable": [f"{NAME}/team/*:v*"]},
    }
    async with running(tmp_path / "app", document, Clock()) as app:
        yield app


async def pulled(app: App, tag: str) -> Digest:
    reply = await app.manifest(f"team/app:{tag}", NAME)
    assert reply.status == 200
    return Digest.parse(reply.headers["docker-content-digest"])


async def audited() -> None:
    """Until the audits that the pulls before it began are over: an answer that is under way when the clock moves
    counts as one of the new day."""
    async with asyncio.timeout(30):
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "tag audit"))


async def test_an_immutable_tag_is_not_asked_for_after_its_ttl_and_any_other_is(
    app: App, upstream: FaultUpstream
) -> None:
    image(upstream, "team/app", "v1", b"1")
    image(upstream, "team/app", "latest", b"2")
    for hours in range(24):
        app.clock.ahead = 3600.0 * hours
        await pulled(app, "v1")
        await pulled(app, "latest")
    asked = [seen.method for seen in upstream.requests("manifest") if seen.target.endswith("/v1")]
    assert asked == ["GET"]
    assert len(upstream.requests("manifest")) == 1 + 24


async def test_an_immutable_tag_that_moved_keeps_its_digest_and_is_reported(app: App, upstream: FaultUpstream) -> None:
    first, _ = image(upstream, "team/app", "v1", b"1")
    assert await pulled(app, "v1") == first
    second, _ = image(upstream, "team/app", "v1", b"another")
    app.clock.ahead = DAY + 1
    assert await pulled(app, "v1") == first
    await audited()
    assert "entrepot_immutable_tags_moved 1.0" in await app.metrics()
    assert (await app.status())["immutable_tags_moved"] == {f"{NAME}/team/app:v1": str(second)}
    log = await app.everything_said()
    assert f"{NAME}/team/app:v1 is declared immutable and moved upstream to {second}: it stays {first} here" in log
    assert await pulled(app, "v1") == first
    upstream.manifest("team/app", "v1", b"")  # whatever it is: nobody looks before tomorrow
    assert [seen.method for seen in upstream.requests("manifest")] == ["GET", "HEAD"]


async def test_a_tag_that_moved_back_is_reported_no_more(app: App, upstream: FaultUpstream) -> None:
    image(upstream, "team/app", "v1", b"1")
    await pulled(app, "v1")
    image(upstream, "team/app", "v1", b"another")
    app.clock.ahead = DAY + 1
    await pulled(app, "v1")
    await audited()
    assert "entrepot_immutable_tags_moved 1.0" in await app.metrics()
    image(upstream, "team/app", "v1", b"1")
    app.clock.ahead = 2 * DAY + 2
    await pulled(app, "v1")
    await audited()
    assert "entrepot_immutable_tags_moved 0.0" in await app.metrics()
    assert (await app.status())["immutable_tags_moved"] == {}


@pytest.mark.parametrize(
    "answer", [roles.fails(500), roles.answers(404), roles.refuses(403)], ids=["broken", "gone", "refused"]
)
async def test_an_upstream_that_cannot_be_looked_at_changes_nothing_and_is_not_asked_with_every_pull(
    app: App, upstream: FaultUpstream, answer: Act
) -> None:
    first, _ = image(upstream, "team/app", "v1", b"1")
    await pulled(app, "v1")
    upstream.always("manifest", answer)
    app.clock.ahead = DAY + 1
    assert await pulled(app, "v1") == first
    await audited()
    looked = len(upstream.requests("manifest"))
    assert looked > 1
    assert [await pulled(app, "v1") for _ in range(20)] == [first] * 20
    await audited()
    assert len(upstream.requests("manifest")) == looked
