"""A known tag is given up only on a clear no; what a person pinned outlives its deletion upstream."""

import json

import pytest

from tests.cast import Act, FaultUpstream, Line, roles
from tests.scenarios.house import APP, NAME, House, manifest_path

RAW = json.dumps({"schemaVersion": 2, "config": {}, "layers": []}).encode()
TAG = manifest_path("v1")
TTL, STALE = 60.0, 86_400.0


async def known(house: House, upstream: FaultUpstream) -> None:
    """The tag was pulled once, and has aged."""
    upstream.manifest(APP, "v1", RAW)
    assert (await house.get(TAG)).status == 200
    house.clock.advance(TTL + 1)


def heads(status: int) -> Act:
    async def act(line: Line) -> None:
        if line.seen.method == "HEAD":
            await line.answer(status)
        else:
            await roles.steady(line)

    return act


@pytest.mark.parametrize("status", [401, 403, 404, 405, 501])
async def test_a_head_that_is_refused_is_confirmed_by_get(house: House, upstream: FaultUpstream, status: int) -> None:
    await known(house, upstream)
    upstream.always("manifest", heads(status))
    reply = await house.get(TAG)
    assert (reply.status, reply.body) == (200, RAW)
    assert {seen.method for seen in upstream.requests("manifest")} == {"GET", "HEAD"}
    upstream.always("manifest", roles.steady)


@pytest.mark.parametrize("status", [403, 404])
async def test_a_no_to_both_is_believed(house: House, upstream: FaultUpstream, status: int) -> None:
    await known(house, upstream)
    upstream.always("manifest", roles.answers(status))
    assert (await house.get(TAG)).status == status
    upstream.always("manifest", roles.silent)
    house.clock.advance(20)
    upstream.always("manifest", roles.answers(503))
    assert (await house.get(TAG)).status == 502, "it was forgotten, and is not served stale"


async def test_a_pinned_tag_is_served_after_upstream_deleted_it_and_says_so(
    house: House, upstream: FaultUpstream
) -> None:
    await known(house, upstream)
    await house.cache.maintenance.retention.pins.add(f"{NAME}/{APP}:v1")
    upstream.always("manifest", roles.answers(404))
    for _ in range(2):
        reply = await house.get(TAG)
        assert (reply.status, reply.body) == (200, RAW)
        assert reply.headers["cache-status"] == "entrepot; hit; detail=stale"
        assert "gone upstream" in reply.headers["warning"]
    house.clock.advance(TTL + STALE + 1)
    assert (await house.get(TAG)).status == 200, "for as long as it is pinned"


async def test_a_pinned_tag_is_refused_where_upstream_refuses_it(house: House, upstream: FaultUpstream) -> None:
    await known(house, upstream)
    await house.cache.maintenance.retention.pins.add(f"{NAME}/{APP}:v1")
    upstream.always("manifest", roles.answers(403))
    assert (await house.get(TAG)).status == 403


async def test_a_copy_that_is_too_old_is_told_of_with_the_setting_that_decides(
    house: House, upstream: FaultUpstream
) -> None:
    await known(house, upstream)
    house.clock.advance(TTL + STALE + 1)
    upstream.always("manifest", roles.answers(503))
    reply = await house.get(TAG)
    assert reply.status == 502
    assert b"is held" in reply.body
    assert b"tags.stale_if_error" in reply.body
