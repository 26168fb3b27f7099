"""What is held is listed and explained while upstream is away, by the same process and by the next one."""

import json
from typing import Any

import pytest

from proxy.core.freshness import TagRules
from proxy.core.manifests import OCI_INDEX, OCI_MANIFEST
from proxy.core.names import Digest
from tests.cast import FaultUpstream, roles
from tests.scenarios.client import Reply
from tests.scenarios.conftest import under
from tests.scenarios.house import APP, NAME, House, manifest_path

TAGS = f"/v2/{NAME}/{APP}/tags/list"
OTHER = "library/other"
SIGNATURE = "application/vnd.example.signature"
RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'


def document(**fields: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "config": {}, "layers": [], **fields}).encode()


def referrers(subject: Digest, query: str = "") -> str:
    return f"/v2/{NAME}/{APP}/referrers/{subject}{query}"


def goes_away(upstream: FaultUpstream) -> None:
    for kind in ("manifest", "blob", "tags", "referrers"):
        upstream.always(kind, roles.fails(503))


def is_stale(reply: Reply) -> None:
    assert reply.headers["cache-status"] == "entrepot; hit; detail=stale"
    assert reply.headers["warning"].startswith('299 - "served stale: upstream does not answer')


def message(reply: Reply) -> str:
    found: str = json.loads(reply.body)["errors"][0]["message"]
    return found


async def signed(house: House, upstream: FaultUpstream) -> tuple[Digest, list[Digest]]:
    """An image that is held, and two held manifests about it, the second of which is its signature."""
    subject = upstream.manifest(APP, "v1", RAW)
    about = {"digest": subject, "mediaType": OCI_MANIFEST, "size": len(RAW)}
    notes = upstream.manifest(APP, None, document(subject=about, artifactType="application/notes"))
    signature = upstream.manifest(APP, None, document(subject=about, artifactType=SIGNATURE))
    for reference in ("v1", notes, signature):
        assert (await house.get(manifest_path(reference))).status == 200
    return subject, [notes, signature]


@pytest.mark.parametrize("restarted", [False, True], ids=["at once", "after a restart"])
async def test_held_tags_are_listed_in_pages(house: House, upstream: FaultUpstream, restarted: bool) -> None:
    upstream.tags(APP, ["never-pulled", "v1", "v2", "v3"])
    for tag in ("v1", "v2", "v3"):
        upstream.manifest(APP, tag, RAW)
        await house.get(manifest_path(tag))
    if restarted:
        await house.restart()
    goes_away(upstream)
    first = await house.get(f"{TAGS}?n=2")
    assert json.loads(first.body) == {"name": APP, "tags": ["v1", "v2"]}
    is_stale(first)
    onward = first.headers["link"].partition("<")[2].partition(">")[0]
    last = await house.get(onward)
    assert json.loads(last.body)["tags"] == ["v3"]
    assert "link" not in last.headers
    past = await house.get(f"{TAGS}?last=v3")
    assert (past.status, json.loads(past.body)["tags"]) == (200, [])


async def test_no_held_tag_is_an_outage_and_a_refusal_is_a_refusal(house: House, upstream: FaultUpstream) -> None:
    upstream.manifest(APP, "v1", RAW)
    await house.get(manifest_path("v1"))
    upstream.always("tags", roles.refuses(403, "DENIED"))
    assert (await house.get(TAGS)).status == 403
    goes_away(upstream)
    assert (await house.get(f"/v2/{NAME}/{OTHER}/tags/list")).status == 502


@pytest.mark.parametrize("restarted", [False, True], ids=["at once", "after a restart"])
async def test_held_referrers_are_an_index(house: House, upstream: FaultUpstream, restarted: bool) -> None:
    subject, about = await signed(house, upstream)
    if restarted:
        await house.restart()
    goes_away(upstream)
    reply = await house.get(referrers(subject))
    assert (reply.status, reply.headers["content-type"]) == (200, OCI_INDEX)
    assert [each["digest"] for each in json.loads(reply.body)["manifests"]] == sorted(about)
    is_stale(reply)
    filtered = await house.get(referrers(subject, f"?artifactType={SIGNATURE}"))
    assert [each["digest"] for each in json.loads(filtered.body)["manifests"]] == [about[1]]
    assert filtered.headers["oci-filters-applied"] == "artifactType"
    behind = await house.get(referrers(subject, f"?last={min(about)}"))
    assert [each["digest"] for each in json.loads(behind.body)["manifests"]] == [max(about)]


async def test_referrers_of_another_repository_are_not_told(house: House, upstream: FaultUpstream) -> None:
    subject, _ = await signed(house, upstream)
    goes_away(upstream)
    assert (await house.get(f"/v2/{NAME}/{OTHER}/referrers/{subject}")).status == 502


async def test_where_the_fallback_tag_is_held_clients_are_sent_there(house: House, upstream: FaultUpstream) -> None:
    subject = upstream.manifest(APP, "v1", RAW)
    fallback = subject.replace(":", "-")
    upstream.manifest(APP, fallback, document(), OCI_INDEX)
    for reference in ("v1", fallback):
        await house.get(manifest_path(reference))
    await house.restart()
    goes_away(upstream)
    assert (await house.get(referrers(subject))).status == 404
    assert (await house.get(manifest_path(fallback))).status == 200


@pytest.mark.parametrize("away", [True, False], ids=["upstream away", "gone upstream"])
async def test_a_pull_of_a_platform_that_is_not_held_is_told_which_it_is(
    house: House, upstream: FaultUpstream, away: bool
) -> None:
    arm = Digest.of(b"never pulled")
    platform = {"os": "linux", "architecture": "arm64", "variant": "v8"}
    entry = {"digest": arm, "mediaType": OCI_MANIFEST, "size": 12, "platform": platform}
    index = upstream.manifest(APP, "v1", document(manifests=[entry]), OCI_INDEX)
    await house.get(manifest_path("v1"))
    await house.restart()
    if away:
        goes_away(upstream)
    for _ in range(2):
        reply = await house.get(manifest_path(arm))
        assert reply.status == (502 if away else 404)
        assert f"it is linux/arm64/v8 of the index {index}, which is held without that platform" in message(reply)
    head = await house.get(manifest_path(arm), method="HEAD")
    assert "linux/arm64/v8" in head.reason


@pytest.mark.parametrize("wrong_by", [-50 * 365 * 86_400.0, 365 * 86_400.0], ids=["in the 1970s", "a year ahead"])
@under(tags=TagRules(stale_if_error=600))
async def test_a_tag_that_a_wrong_clock_checked_is_served_when_the_clock_is_right(
    house: House, upstream: FaultUpstream, wrong_by: float
) -> None:
    upstream.manifest(APP, "v1", RAW)
    right = house.clock()
    house.clock.advance(wrong_by)
    assert (await house.get(manifest_path("v1"))).status == 200
    house.clock.advance(right - house.clock())
    goes_away(upstream)
    reply = await house.get(manifest_path("v1"))
    assert (reply.status, reply.body) == (200, RAW)
    is_stale(reply)
    assert "age" not in reply.headers, "nobody knows how old it is"


async def test_an_outage_says_what_it_is_and_that_nothing_is_held(house: House, upstream: FaultUpstream) -> None:
    await upstream.vanish()
    reply = await house.get(manifest_path("v9"))
    why = f"{NAME} cannot be reached for {APP}:v9: no connection can be made; v9 is not held here; try again later"
    request = json.loads(reply.body)["errors"][0]["detail"]["request"]
    assert (reply.status, message(reply)) == (502, why)
    assert reply.reason == f"Bad Gateway: {why} (request {request})"
