"""Manifests: bytes as received, and nothing kept or passed on that is not one."""

import asyncio
import json

import pytest

from tests.cast import FaultUpstream, roles
from tests.cast.line import Act, Line
from tests.scenarios.house import APP, House, manifest_path
from tests.scenarios.invariants import stored

RAW = b'{ "schemaVersion": 2,\n\t"config": {}, "layers": [ ] }\n'
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


async def test_a_manifest_by_digest_is_fetched_once_and_served_with_upstream_down(
    house: House, upstream: FaultUpstream
) -> None:
    digest = upstream.manifest(APP, None, RAW)
    assert (await house.get(manifest_path(digest))).body == RAW
    upstream.always("manifest", roles.closes_unanswered)
    house.clock.advance(80_000)
    for _ in range(2):
        hit = await house.get(manifest_path(digest))
        assert (hit.body, hit.headers["cache-status"]) == (RAW, "entrepot; hit")
        assert hit.headers["content-type"] == "application/vnd.oci.image.manifest.v1+json"
        await house.restart()
    assert len(upstream.ledger) == 1


async def test_the_children_of_an_index_are_pulled_with_the_index_held(house: House, upstream: FaultUpstream) -> None:
    child = upstream.manifest(APP, None, RAW)
    listed = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": child, "size": len(RAW)}
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [listed]}).encode()
    digest = upstream.manifest(APP, "multi", index, INDEX_TYPE)
    first = await house.get(manifest_path("multi"))
    assert (first.headers["content-type"], first.headers["docker-content-digest"]) == (INDEX_TYPE, digest)
    assert (await house.get(manifest_path(child))).body == RAW
    assert (await house.get(manifest_path(digest))).headers["cache-status"] == "entrepot; hit"


def _body(body: bytes, content_type: str = "application/vnd.oci.image.manifest.v1+json") -> Act:
    return roles.answers(200, body, {"Content-Type": content_type})


async def _wrong_bytes(line: Line) -> None:
    await line.answer(200, line.content.body + b" ", line.content.headers)


NOT_MANIFESTS: dict[str, Act] = {
    "a login page": _body(b"<html><form>log in</form></html>", "text/html"),
    "a login page that calls itself JSON": _body(b"<html>", "application/json"),
    "compressed though asked not to": roles.encoded("gzip"),
    "larger than allowed": _body(b'{"schemaVersion":2,"x":"' + b"x" * (5 << 20) + b'"}'),
    "without an end": roles.endless,
    "keys that stand twice": _body(b'{"schemaVersion":2,"config":{},"config":{"a":1},"layers":[]}'),
    "nested deeply": _body(b'{"schemaVersion":2,"config":' + b"[" * 100_000 + b"]" * 100_000 + b',"layers":[]}'),
    "a list": _body(b"[]"),
    "empty": _body(b""),
    "not UTF-8": _body(b'{"schemaVersion":2,"config":{},"layers":["\xff"]}'),
    "with a byte order mark": _body(b"\xef\xbb\xbf" + RAW),
    "with NaN": _body(b'{"schemaVersion":NaN,"config":{},"layers":[]}'),
}


@pytest.mark.parametrize("by_digest", [True, False], ids=["by digest", "by tag"])
@pytest.mark.parametrize("act", NOT_MANIFESTS.values(), ids=NOT_MANIFESTS.keys())
async def test_what_is_no_manifest_is_neither_passed_on_nor_kept(
    house: House, upstream: FaultUpstream, act: Act, by_digest: bool
) -> None:
    digest = upstream.manifest(APP, "v1", RAW)
    path = manifest_path(digest if by_digest else "v1")
    upstream.plays("manifest", act)
    reply = await house.get(path)
    assert upstream.unplayed == 0
    if reply.status != 200:  # what came once is asked past, but where it says that the manifest itself is no good
        assert (reply.status, json.loads(reply.body)["errors"][0]["code"]) == (502, "UNAVAILABLE")
        assert stored(house.folder) == {}
        reply = await house.get(path)
    assert reply.body == RAW
    await house.quiet()
    assert set(stored(house.folder)) == {digest}


async def test_a_manifest_whose_bytes_are_not_those_of_its_digest_is_refused(
    house: House, upstream: FaultUpstream
) -> None:
    digest = upstream.manifest(APP, None, RAW)
    upstream.always("manifest", _wrong_bytes)
    assert (await house.get(manifest_path(digest))).status == 502
    assert stored(house.folder) == {}
    upstream.always("manifest", roles.steady)
    assert (await house.get(manifest_path(digest))).body == RAW


async def test_the_digest_of_a_tag_is_computed_and_never_believed(house: House, upstream: FaultUpstream) -> None:
    digest = upstream.manifest(APP, "v1", RAW)
    lie = {"Content-Type": "application/vnd.oci.image.manifest.v1+json", "Docker-Content-Digest": "sha256:" + "0" * 64}
    upstream.plays("manifest", roles.answers(200, RAW, lie))
    assert (await house.get(manifest_path("v1"))).headers["docker-content-digest"] == digest


async def test_a_tag_that_points_to_rubbish_now_is_not_served_from_memory_as_if_it_were_fresh(
    house: House, upstream: FaultUpstream
) -> None:
    upstream.manifest(APP, "v1", RAW)
    await house.get(manifest_path("v1"))
    house.clock.advance(61)
    upstream.plays("manifest", roles.without("Docker-Content-Digest"), _body(b"<html>", "text/html"))
    reply = await house.get(manifest_path("v1"))
    assert reply.headers.get("cache-status") != "entrepot; hit"
    assert reply.body == RAW or reply.status == 502


async def test_concurrent_pulls_of_a_cold_manifest_cost_one_request(house: House, upstream: FaultUpstream) -> None:
    upstream.manifest(APP, "v1", RAW)
    gate = asyncio.Event()

    async def slow(line: Line) -> None:
        await gate.wait()
        await roles.steady(line)

    upstream.plays("manifest", slow)
    clients = [await house.pull(manifest_path("v1")) for _ in range(40)]
    while house.handler.active < 40:
        await asyncio.sleep(0.005)
    gate.set()
    for client in clients:
        assert (await client.reply()).body == RAW
        client.leave()
    assert len(upstream.ledger) == 1
    assert house.outcomes() == {"miss": 1, "collapsed": 39}
