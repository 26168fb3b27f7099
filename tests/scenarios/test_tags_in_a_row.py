"""A tag that a cache in the middle believes is as old for whoever asked it: what each of them believes does not add
up."""

import json

from proxy.core.freshness import TagRules
from proxy.core.manifests import OCI_MANIFEST
from tests.cast import FaultUpstream, ManualClock
from tests.scenarios.client import Client, request
from tests.scenarios.conftest import under
from tests.scenarios.house import APP, House, manifest_path
from tests.scenarios.shelf import put_image

TTL = 60.0
BY_A_CACHE = {"Via": "1.1 entrepot-0123456789abcdef"}
RAW = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {}, "layers": []}).encode()


def heads(upstream: FaultUpstream) -> int:
    return sum(seen.method == "HEAD" for seen in upstream.requests("manifest"))


def believes(centre: FaultUpstream, age: int) -> None:
    said = {"Cache-Status": "entrepot; hit", "Age": str(age)}
    centre.page(f"/v2/{APP}/manifests/v1", RAW, {"Content-Type": OCI_MANIFEST, **said})


async def test_another_cache_is_told_how_old_a_tag_is_by_now_and_nobody_else(
    house: House, upstream: FaultUpstream, clock: ManualClock
) -> None:
    put_image(upstream, "v1", b"layer")
    for _ in range(2):
        assert "age" not in (await house.get(manifest_path("v1"))).headers
    began = clock.now
    for passed in (20, 45):
        clock.now = began + passed
        told = await house.get(manifest_path("v1"), BY_A_CACHE)
        assert (told.headers["cache-status"], told.headers["age"]) == ("entrepot; hit", str(passed))
        assert "age" not in (await house.get(manifest_path("v1"))).headers


@under(tags=TagRules(ttl=TTL))
async def test_what_a_cache_believes_is_believed_until_it_is_as_old_as_it_may_be(
    house: House, upstream: FaultUpstream, clock: ManualClock
) -> None:
    believes(upstream, 40)
    told = await house.get(manifest_path("v1"))
    assert (told.headers["cache-status"], told.headers["age"]) == ("entrepot; fwd=miss; stored", "40")
    clock.advance(20)
    assert (await house.get(manifest_path("v1"), BY_A_CACHE)).headers["age"] == "60"
    assert heads(upstream) == 0
    clock.advance(1)
    believes(upstream, 1)
    told = await house.get(manifest_path("v1"))
    assert (told.headers["cache-status"], told.headers["age"]) == ("entrepot; fwd=stale", "1")
    assert heads(upstream) == 1


@under(tags=TagRules(ttl=TTL))
async def test_a_cache_that_believes_longer_is_asked_again_after_a_while_and_not_at_each_pull(
    house: House, upstream: FaultUpstream, clock: ManualClock
) -> None:
    believes(upstream, 3000)
    for _ in range(5):
        assert (await house.get(manifest_path("v1"))).status == 200
        clock.advance(1)
    assert heads(upstream) == 0
    clock.advance(1)
    assert (await house.get(manifest_path("v1"))).headers["cache-status"] == "entrepot; fwd=stale"
    assert heads(upstream) == 1


async def test_on_one_connection_each_request_has_come_its_own_way(house: House, upstream: FaultUpstream) -> None:
    """Also one right behind another: nobody is taken for a cache because the one before him was."""
    for tag in ("v1", "v2"):
        put_image(upstream, tag, tag.encode())
        assert (await house.get(manifest_path(tag))).status == 200
    async with await Client.connect(house.port) as client:
        await client.send(request(manifest_path("v1"), BY_A_CACHE) + request(manifest_path("v2")))
        assert "age" in (await client.reply()).headers
        assert "age" not in (await client.reply()).headers
