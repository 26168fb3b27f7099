"""Tags age: fresh, checked, moved, stale while upstream does not answer, gone when it says no."""

import asyncio
import json

import pytest

from proxy.core.freshness import TagRules
from tests.cast import FaultUpstream, Line, roles
from tests.cast.line import Act
from tests.scenarios.conftest import under
from tests.scenarios.house import APP, House, manifest_path

V1 = json.dumps({"schemaVersion": 2, "config": {}, "layers": [], "annotations": {"v": "1"}}).encode()
V2 = json.dumps({"schemaVersion": 2, "config": {}, "layers": [], "annotations": {"v": "2"}}).encode()
TTL, STALE = 60.0, 86_400.0
TAG = manifest_path("latest")


async def test_a_fresh_tag_asks_nobody(house: House, upstream: FaultUpstream) -> None:
    digest = upstream.manifest(APP, "latest", V1)
    miss = await house.get(TAG)
    assert (miss.status, miss.body, miss.headers["cache-status"]) == (200, V1, "entrepot; fwd=miss; stored")
    upstream.manifest(APP, "latest", V2)
    house.clock.advance(TTL)
    hit = await house.get(TAG)
    assert (hit.body, hit.headers["cache-status"]) == (V1, "entrepot; hit")
    assert hit.headers["docker-content-digest"] == digest
    assert "age" not in hit.headers
    assert len(upstream.ledger) == 1


async def test_an_aged_tag_is_checked_by_head_and_then_fresh_again(house: House, upstream: FaultUpstream) -> None:
    upstream.manifest(APP, "latest", V1)
    await house.get(TAG)
    house.clock.advance(TTL + 1)
    checked = await house.get(TAG)
    assert (checked.body, checked.headers["cache-status"]) == (V1, "entrepot; fwd=stale")
    assert [seen.method for seen in upstream.requests("manifest")] == ["GET", "HEAD"]
    house.clock.advance(TTL)
    assert (await house.get(TAG)).headers["cache-status"] == "entrepot; hit"
    assert len(upstream.requests("manifest")) == 2


async def test_a_tag_that_moved_gives_the_new_manifest(house: House, upstream: FaultUpstream) -> None:
    upstream.manifest(APP, "latest", V1)
    await house.get(TAG)
    moved = upstream.manifest(APP, "latest", V2)
    house.clock.advance(TTL + 1)
    reply = await house.get(TAG)
    assert (reply.body, reply.headers["docker-content-digest"]) == (V2, moved)
    assert [seen.method for seen in upstream.requests("manifest")] == ["GET", "HEAD", "GET"]


async def test_a_tag_that_moves_back_needs_no_second_transfer(house: House, upstream: FaultUpstream) -> None:
    for raw in (V1, V2):
        upstream.manifest(APP, "latest", raw)
        await house.get(TAG)
        house.clock.advance(TTL + 1)
    upstream.manifest(APP, "latest", V1)
    assert (await house.get(TAG)).body == V1
    assert [seen.method for seen in upstream.requests("manifest")] == ["GET", "HEAD", "GET", "HEAD"]


OUTAGES = {
    "500": roles.fails(500),
    "503": roles.fails(503),
    "closed without an answer": roles.closes_unanswered,
    "429": roles.limits("30"),
}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES.keys())
async def test_a_known_tag_is_served_stale_while_upstream_does_not_answer(
    house: House, upstream: FaultUpstream, outage: Act
) -> None:
    upstream.manifest(APP, "latest", V1)
    await house.get(TAG)
    upstream.always("manifest", outage)
    house.clock.advance(TTL + 600)
    for _ in range(3):
        stale = await house.get(TAG)
        assert (stale.status, stale.body) == (200, V1)
        assert stale.headers["cache-status"] == "entrepot; hit; detail=stale"
        assert stale.headers["age"] == "660"
        assert stale.headers["warning"].startswith("299 ")
    assert len(upstream.requests("manifest")) > 1
    house.clock.advance(STALE)
    over = await house.get(TAG)
    assert over.status == (429 if outage is OUTAGES["429"] else 502)


@under(tags=TagRules(revalidate_timeout=0.1))
async def test_a_slow_upstream_does_not_make_a_known_tag_slow(house: House, upstream: FaultUpstream) -> None:
    upstream.manifest(APP, "latest", V1)
    await house.get(TAG)
    gate = asyncio.Event()

    async def slow(line: Line) -> None:
        await gate.wait()
        await roles.steady(line)

    upstream.plays("manifest", slow)
    house.clock.advance(TTL + 1)
    stale = await house.get(TAG)
    assert stale.headers["cache-status"] == "entrepot; hit; detail=stale"
    gate.set()
    async with asyncio.timeout(10):  # the check went on without its client
        while (await house.get(TAG)).headers["cache-status"] != "entrepot; hit":
            await asyncio.sleep(0.01)
    assert len(upstream.requests("manifest")) == 2


async def test_many_clients_of_an_aged_tag_cost_one_check(house: House, upstream: FaultUpstream) -> None:
    upstream.manifest(APP, "latest", V1)
    await house.get(TAG)
    house.clock.advance(TTL + 1)
    gate = asyncio.Event()

    async def slow(line: Line) -> None:
        await gate.wait()
        await roles.steady(line)

    upstream.plays("manifest", slow)
    clients = [await house.pull(TAG) for _ in range(50)]
    while house.handler.active < 50:
        await asyncio.sleep(0.005)
    gate.set()
    for client in clients:
        assert (await client.reply()).body == V1
        client.leave()
    assert [seen.method for seen in upstream.requests("manifest")] == ["GET", "HEAD"]


REFUSALS = {"404": (404, 404), "401": (401, 403), "403": (403, 403)}


@pytest.mark.parametrize(("answer", "status"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_a_tag_that_upstream_refuses_is_refused_and_forgotten(
    house: House, upstream: FaultUpstream, answer: int, status: int
) -> None:
    upstream.manifest(APP, "latest", V1)
    await house.get(TAG)
    code = "MANIFEST_UNKNOWN" if answer == 404 else "DENIED"
    upstream.always("manifest", roles.refuses(answer, code))
    house.clock.advance(TTL + 1)
    assert (await house.get(TAG)).status == status
    upstream.always("manifest", roles.fails(500))  # nothing stale is left to serve
    house.clock.advance(11)
    assert (await house.get(TAG)).status == 502


async def test_an_absence_is_remembered_for_ten_seconds(house: House, upstream: FaultUpstream) -> None:
    replies = [await house.get(TAG) for _ in range(5)]
    assert {reply.status for reply in replies} == {404}
    assert json.loads(replies[0].body)["errors"][0]["code"] == "MANIFEST_UNKNOWN"
    assert len(upstream.requests("manifest")) == 1
    upstream.manifest(APP, "latest", V1)
    house.clock.advance(9)
    assert (await house.get(TAG)).status == 404
    house.clock.advance(2)
    assert (await house.get(TAG)).body == V1


async def test_a_known_tag_and_its_age_survive_a_restart(house: House, upstream: FaultUpstream) -> None:
    upstream.manifest(APP, "latest", V1)
    await house.get(TAG)
    upstream.always("manifest", roles.fails())
    await house.restart()
    assert (await house.get(TAG)).headers["cache-status"] == "entrepot; hit"
    house.clock.advance(TTL + 40)
    assert (await house.get(TAG)).headers["age"] == "100"


async def test_what_the_client_has_is_not_sent_again(house: House, upstream: FaultUpstream) -> None:
    digest = upstream.manifest(APP, "latest", V1)
    await house.get(TAG)
    reply = await house.get(TAG, {"If-None-Match": f'"{digest}"'})
    assert (reply.status, reply.body, reply.headers["docker-content-digest"]) == (304, b"", digest)
    assert (await house.get(TAG, {"If-None-Match": '"sha256:x"'})).status == 200


async def test_head_of_a_tag_says_what_get_would(house: House, upstream: FaultUpstream) -> None:
    upstream.manifest(APP, "latest", V1)
    for _ in range(2):
        head, get = await house.get(TAG, method="HEAD"), await house.get(TAG)
        for name in ("content-length", "content-type", "docker-content-digest", "etag"):
            assert head.headers[name] == get.headers[name]


async def test_a_clock_that_was_ahead_makes_a_tag_stale_and_not_fresh_for_ever(
    house: House, upstream: FaultUpstream
) -> None:
    upstream.manifest(APP, "latest", V1)
    await house.get(TAG)
    house.clock.advance(-3600)
    assert (await house.get(TAG)).headers["cache-status"] == "entrepot; fwd=stale"
    assert len(upstream.requests("manifest")) == 2
