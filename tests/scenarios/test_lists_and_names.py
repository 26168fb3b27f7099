"""Tags, referrers and the catalog; how upstreams are named; what is nobody's to ask."""

import json

import pytest

from tests.cast import FaultUpstream, roles
from tests.cast.line import Act
from tests.scenarios.house import APP, NAME, House, blob_path, manifest_path

RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'
DIGEST = "sha256:" + "ab" * 32
REFERRERS = f"/v2/{NAME}/{APP}/referrers/{DIGEST}"
INDEX = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


async def test_tags_are_asked_of_upstream_each_time(house: House, upstream: FaultUpstream) -> None:
    upstream.tags(APP, ["v1", "v2"])
    reply = await house.get(f"/v2/{NAME}/{APP}/tags/list")
    assert json.loads(reply.body) == {"name": APP, "tags": ["v1", "v2"]}
    upstream.tags(APP, ["v3"])
    assert json.loads((await house.get(f"/v2/{NAME}/{APP}/tags/list")).body)["tags"] == ["v3"]


async def test_pages_of_tags_lead_back_to_us_and_keep_the_namespace(house: House, upstream: FaultUpstream) -> None:
    names = [f"v{number}" for number in range(5)]
    upstream.tags(APP, names)
    found: list[str] = []
    path: str | None = f"/v2/{APP}/tags/list?ns={NAME}&n=2"
    while path is not None:
        reply = await house.get(path)
        assert len(json.loads(reply.body)["tags"]) <= 2
        found += json.loads(reply.body)["tags"]
        link = reply.headers.get("link")
        path = link.partition("<")[2].partition(">")[0] if link else None
        assert path is None or (path.startswith(f"/v2/{APP}/tags/list?") and f"ns={NAME}" in path)
    assert found == names


async def test_the_next_page_of_upstream_is_the_next_page_of_ours(house: House, upstream: FaultUpstream) -> None:
    body = json.dumps({"name": APP, "tags": ["a", "b"]}).encode()
    onward = {"Link": f'<https://elsewhere.test/v2/{APP}/tags/list?last=opaque%2F1&n=2>; rel="next"'}
    upstream.plays("tags", roles.answers(200, body, {"Content-Type": "application/json", **onward}))
    reply = await house.get(f"/v2/{NAME}/{APP}/tags/list?n=2")
    assert reply.headers["link"] == f'</v2/{NAME}/{APP}/tags/list?last=opaque%2F1&n=2>; rel="next"'
    await house.get(f"/v2/{NAME}/{APP}/tags/list?last=opaque%2F1&n=2")
    assert upstream.requests("tags")[-1].target.endswith("last=opaque%2F1")


async def test_no_tags_are_listed_where_none_are_wanted(house: House, upstream: FaultUpstream) -> None:
    reply = await house.get(f"/v2/{NAME}/{APP}/tags/list?n=0")
    assert json.loads(reply.body)["tags"] == []
    assert upstream.ledger == []


@pytest.mark.parametrize("number", ["-1", "x", "1.5", "%D9%A1"])
async def test_a_number_of_results_is_a_number(house: House, number: str) -> None:
    assert (await house.get(f"/v2/{NAME}/{APP}/tags/list?n={number}")).status == 400


async def test_referrers_are_passed_and_kept_for_a_while(house: House, upstream: FaultUpstream) -> None:
    upstream.page(f"/v2/{APP}/referrers/{DIGEST}", INDEX, {"Content-Type": INDEX_TYPE})
    for status in ("entrepot; fwd=miss; stored", "entrepot; hit"):
        reply = await house.get(REFERRERS)
        assert (reply.status, reply.body, reply.headers["content-type"]) == (200, INDEX, INDEX_TYPE)
        assert reply.headers["cache-status"] == status
    assert len(upstream.requests("referrers")) == 1
    house.clock.advance(61)
    upstream.always("referrers", roles.fails())
    assert (await house.get(REFERRERS)).headers["cache-status"] == "entrepot; hit; detail=stale"


async def test_the_filter_of_referrers_is_upstreams(house: House, upstream: FaultUpstream) -> None:
    filtered = {"Content-Type": INDEX_TYPE, "OCI-Filters-Applied": "artifactType"}
    upstream.plays("referrers", roles.answers(200, INDEX, filtered))
    reply = await house.get(f"{REFERRERS}?artifactType=application/x")
    assert reply.headers["oci-filters-applied"] == "artifactType"
    assert upstream.requests("referrers")[0].target.endswith("?artifactType=application/x")


NO_API: dict[str, Act] = {
    "404": roles.refuses(404, "NOT_FOUND"),
    "405": roles.refuses(405, "UNSUPPORTED"),
    "a page for people": roles.answers(200, b"<html></html>", {"Content-Type": "text/html"}),
    "JSON that is no index": roles.answers(200, b'{"hello":1}', {"Content-Type": "application/json"}),
}


@pytest.mark.parametrize("act", NO_API.values(), ids=NO_API.keys())
async def test_an_upstream_without_referrers_gets_clients_to_their_fallback(
    house: House, upstream: FaultUpstream, act: Act
) -> None:
    upstream.plays("referrers", act)
    assert [(await house.get(REFERRERS)).status for _ in range(2)] == [404, 404]
    assert len(upstream.requests("referrers")) == 1


async def test_the_catalog_lists_what_is_held_in_pages(house: House, upstream: FaultUpstream) -> None:
    for name in ("a/one", "b/two", "c/three"):
        upstream.manifest(name, "v1", RAW)
        await house.get(manifest_path("v1", name))
    reply = await house.get("/v2/_catalog?n=2")
    assert json.loads(reply.body) == {"repositories": [f"{NAME}/a/one", f"{NAME}/b/two"]}
    following = reply.headers["link"].partition("<")[2].partition(">")[0]
    last = await house.get(following)
    assert json.loads(last.body) == {"repositories": [f"{NAME}/c/three"]}
    assert "link" not in last.headers


async def test_the_namespace_is_echoed_where_it_was_asked_for(house: House, upstream: FaultUpstream) -> None:
    upstream.manifest(APP, "v1", RAW)
    for _ in range(2):
        reply = await house.get(f"/v2/{APP}/manifests/v1?ns={NAME}")
        assert (reply.status, reply.headers["oci-namespace"]) == (200, NAME)
        assert "oci-namespace" not in (await house.get(manifest_path("v1"))).headers
    assert len(upstream.ledger) == 1


@pytest.mark.parametrize(
    "path",
    [f"/v2/{APP}/manifests/v1?ns=evil.test", "/v2/evil.test/app/manifests/v1", "/v2/127.0.0.1:1/app/manifests/v1",
     f"/v2/{APP}/manifests/v1?ns=", f"/v2/{APP}/manifests/v1?ns={NAME}@evil.test", f"/v2/{APP}/manifests/v1"],
)  # fmt: skip
async def test_a_registry_that_is_not_configured_is_never_reached(
    house: House, upstream: FaultUpstream, path: str
) -> None:
    reply = await house.get(path)
    assert (reply.status, json.loads(reply.body)["errors"][0]["code"]) == (404, "NAME_UNKNOWN")
    assert upstream.connections == 0
    assert "oci-namespace" not in reply.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_nothing_can_be_pushed_or_deleted(house: House, upstream: FaultUpstream, method: str) -> None:
    for path in (f"/v2/{NAME}/{APP}/blobs/uploads/", manifest_path("v1"), blob_path(DIGEST)):  # type: ignore[arg-type]
        reply = await house.get(path, method=method)
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
        assert json.loads(reply.body)["errors"][0]["code"] == "UNSUPPORTED"
    assert upstream.ledger == []


async def test_a_push_with_a_body_is_refused_and_the_connection_stays_in_step(house: House) -> None:
    async with await house.connect() as client:
        await client.send(
            f"POST /v2/{NAME}/{APP}/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello".encode()
        )
        reply = await client.reply()
        assert reply.status == 405
        if reply.headers.get("connection") != "close":
            await client.still_framed()
