"""What a registry may send in one answer: the legal passes, however large; what is too much is refused, asked for once,
and read in steps that leave the loop to others."""

import json
from collections.abc import Iterator

import pytest

from proxy.core.steps import Steps
from proxy.tasks.turns import Turns
from tests.cast import FaultUpstream
from tests.scenarios.house import APP, NAME, House, manifest_path
from tests.scenarios.invariants import stored

FULL = 4 << 20
TYPE = b'"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"'
BARE = b'{%b,"config":{},"layers":[]}' % TYPE
IN_A_STEP = 500  # values


def odd(value: bytes) -> bytes:
    """A manifest with this in it."""
    return b'{%b,"config":{},"layers":[],"x":%b}' % (TYPE, value)


def filled(part: bytes) -> bytes:
    return odd(b"[" + part * ((FULL - 200) // len(part)) + b"0]")


BOMBS = {
    "nested": odd(b"[" * 1_000_000),
    "nested and closed": odd(b"[" * 900 + b"]" * 900),
    "objects": filled(b"{},"),
    "objects of one member": filled(b'{"a":1},'),
    "floats": filled(b"1e9,"),
    "members": odd(b"{" + b",".join(b'"%d":1' % number for number in range(300_000)) + b"}"),
    "long numbers": filled(b"9" * 4300 + b","),
    "a long string": odd(b'"' + b"a" * (FULL - 200) + b'"'),
    "many layers": b'{%b,"config":{},"layers":[%b]}' % (TYPE, b",".join([b'{"size":1}'] * 20_000)),
}


def layers(count: int) -> bytes:
    one = b'{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:%064x","size":1}'
    return b'{%b,"config":{},"layers":[%b]}' % (TYPE, b",".join(one % number for number in range(count)))


def index(count: int) -> bytes:
    one = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "size": 1,
        "platform": {"os": "a", "architecture": "b"},
    }
    listed = [{**one, "digest": f"sha256:{number:064x}", "annotations": {"a": "b" * 99}} for number in range(count)]
    kind = "application/vnd.oci.image.index.v1+json"
    return json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": listed}, indent=2).encode()


LEGAL = {
    "thousands of layers": layers(9_000),
    "an index of thousands": index(3_000),
    "annotations of many kilobytes": odd(b'{"a":"' + b"\\n" * 200_000 + b'","b":"' + b"b" * 500_000 + b'"}'),
    "indented": json.dumps(json.loads(layers(1_000)), indent=8).encode(),
}


@pytest.fixture
def steps_taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Of each work that was done in turns, the steps."""
    taken: list[int] = []
    run = Turns.run

    def counted(steps: Steps[object]) -> Steps[object]:
        taken.append(1)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value
            taken[-1] += 1
            yield

    monkeypatch.setattr(Turns, "run", lambda self, steps: run(self, counted(steps)))
    yield taken


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
async def test_what_is_too_much_is_refused_and_asked_for_once(
    house: House, upstream: FaultUpstream, bomb: bytes
) -> None:
    assert len(bomb) <= FULL
    digest = upstream.manifest(APP, "v1", bomb)
    for reference in ("v1", digest):
        reply = await house.get(manifest_path(reference))
        assert reply.status == 502
        (error,) = json.loads(reply.body)["errors"]
        assert "larger than this cache accepts" in error["message"]
    assert len(upstream.requests("manifest")) == 2
    assert stored(house.folder) == {}


async def test_a_registry_with_many_of_them_is_asked_for_others_as_before(
    house: House, upstream: FaultUpstream
) -> None:
    for number in range(20):
        upstream.manifest(APP, f"v{number}", odd(b"[" * 900 + b"%d" % number))
        assert (await house.get(manifest_path(f"v{number}"))).status == 502
    upstream.manifest(APP, "good", BARE)
    assert (await house.get(manifest_path("good"))).body == BARE


@pytest.mark.parametrize("raw", LEGAL.values(), ids=LEGAL.keys())
async def test_the_legal_passes_and_is_kept(
    house: House, upstream: FaultUpstream, steps_taken: list[int], raw: bytes
) -> None:
    digest = upstream.manifest(APP, "v1", raw)
    assert (await house.get(manifest_path("v1"))).body == raw
    assert max(steps_taken) > len(raw) >> 19, "its digest and its text were taken in parts"
    steps_taken.clear()
    hit = await house.get(manifest_path(digest))
    assert (hit.body, hit.headers["cache-status"]) == (raw, "entrepot; hit")
    assert steps_taken == [], "a hit reads nothing"


async def test_a_manifest_is_read_once_and_in_steps(
    house: House, upstream: FaultUpstream, steps_taken: list[int]
) -> None:
    upstream.manifest(APP, "v1", layers(9_000))
    await house.get(manifest_path("v1"))
    values, descriptors = 9_000 * 4, 9_000
    (taken,) = steps_taken
    assert values // IN_A_STEP + descriptors // 500 <= taken <= 2 * values // IN_A_STEP


async def test_a_long_list_of_tags_passes_whole_and_by_pages(
    house: House, upstream: FaultUpstream, steps_taken: list[int]
) -> None:
    upstream.tags(APP, tags := [f"v{number:06}" for number in range(100_000, 0, -1)])
    path = f"/v2/{NAME}/{APP}/tags/list"
    assert json.loads((await house.get(path)).body)["tags"] == tags
    assert max(steps_taken) > len(tags) // IN_A_STEP
    page = await house.get(f"{path}?n=3&last=v000500")
    assert json.loads(page.body)["tags"] == ["v000501", "v000502", "v000503"]


async def test_more_tags_than_are_read_are_refused_once(house: House, upstream: FaultUpstream) -> None:
    upstream.page(f"/v2/{APP}/tags/list", b'{"tags":[' + b'"a",' * 250_000 + b'"a"]}')
    reply = await house.get(f"/v2/{NAME}/{APP}/tags/list")
    assert (reply.status, len(upstream.ledger)) == (502, 1)
    assert "larger than this cache accepts" in json.loads(reply.body)["errors"][0]["message"]


async def test_an_error_or_a_list_of_referrers_that_is_a_bomb_is_none(house: House, upstream: FaultUpstream) -> None:
    digest = upstream.manifest(APP, None, BARE)
    upstream.page(f"/v2/{APP}/referrers/{digest}", b'{"manifests":[' + b"{}," * 200_000 + b"{}]}")
    reply = await house.get(f"/v2/{NAME}/{APP}/referrers/{digest}")
    assert (reply.status, len(upstream.ledger)) == (404, 1)
    upstream.page(f"/v2/{APP}/manifests/v1", b'{"errors":[{"code":"DENIED"},' + b"{}," * 20_000 + b"{}]}", status=404)
    assert (await house.get(manifest_path("v1"))).status == 404
