"""One gate before every answer: whoever is not admitted gets nothing, wherever the answer would have come from."""

import asyncio
import json
from collections.abc import Callable

import pytest

from proxy.core.access import Admission, Caller
from proxy.core.operations import Operation
from tests.cast import FaultUpstream, roles
from tests.scenarios.client import Reply
from tests.scenarios.conftest import under
from tests.scenarios.house import APP, NAME, House, MiB, blob_path, manifest_path

Bytes = Callable[[int], bytes]
RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'
METHODS: list[tuple[str, dict[str, str]]] = [
    ("GET", {}),
    ("HEAD", {}),
    ("GET", {"Range": "bytes=1-2"}),
    ("GET", {"If-None-Match": "*"}),
]


class Barrier:
    """A gate that a scene closes for some kinds of operation."""

    def __init__(self) -> None:
        self.closed: set[str] = set()
        self.asked: list[str] = []

    def admit(self, caller: Caller, operation: Operation) -> Admission:
        self.asked.append(operation.kind)
        return Admission.HIDDEN if operation.kind in self.closed else Admission.ADMITTED


def hides(reply: Reply, content: bytes) -> bool:
    """Told as what is not there: nothing of the content, of its size or its digest."""
    told = set(reply.headers) & {"docker-content-digest", "etag", "content-range", "accept-ranges", "cache-status"}
    return reply.status == 404 and not told and (not reply.body or content not in reply.body)


gated = under(gate=Barrier())


def barrier(house: House) -> Barrier:
    gate = house.rules.gate
    assert isinstance(gate, Barrier)
    gate.closed.clear()
    gate.asked.clear()
    return gate


@gated
@pytest.mark.parametrize(("method", "headers"), METHODS)
@pytest.mark.parametrize("size", [500, MiB], ids=["in memory", "in a file"])
async def test_nothing_of_a_held_blob_leaves(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, method: str, headers: dict[str, str], size: int
) -> None:
    gate, digest = barrier(house), upstream.blob(APP, blob := some_bytes(size))
    for _ in range(3):
        assert (await house.get(blob_path(digest), headers, method)).status in {200, 206, 304}
        await house.get(blob_path(digest))
        await house.quiet()
    asks = len(upstream.ledger)
    gate.closed.add("blob")
    assert hides(await house.get(blob_path(digest), headers, method), blob)
    assert len(upstream.ledger) == asks
    gate.closed.clear()
    assert (await house.get(blob_path(digest), headers, method)).status in {200, 206, 304}


@gated
@pytest.mark.parametrize(("method", "headers"), METHODS)
@pytest.mark.parametrize("by_digest", [True, False], ids=["digest", "tag"])
async def test_nothing_of_a_held_manifest_leaves(
    house: House, upstream: FaultUpstream, method: str, headers: dict[str, str], by_digest: bool
) -> None:
    gate, digest = barrier(house), upstream.manifest(APP, "v1", RAW)
    path = manifest_path(digest if by_digest else "v1")
    for _ in range(3):
        assert (await house.get(path, headers, method)).status in {200, 304}
    gate.closed.add("manifest")
    assert hides(await house.get(path, headers, method), RAW)


@gated
@pytest.mark.parametrize(("method", "headers"), METHODS)
async def test_nobody_joins_a_fill_without_being_admitted_himself(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, method: str, headers: dict[str, str]
) -> None:
    gate, digest = barrier(house), upstream.blob(APP, blob := some_bytes(2 * MiB))
    upstream.plays("blob", roles.holds(MiB, going_on := asyncio.Event()))
    async with await house.pull(blob_path(digest)) as first:
        head = await first.head()
        fill = house.cache.fills.arriving.get(digest)
        assert fill is not None
        gate.closed.add("blob")
        assert hides(await house.get(blob_path(digest), headers, method), blob)
        assert fill.followers == 1
        going_on.set()
        assert await first.rest(head) == blob


@gated
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_nobody_joins_a_flight_without_being_admitted_himself(
    house: House, upstream: FaultUpstream, method: str
) -> None:
    gate = barrier(house)
    upstream.manifest(APP, "v1", RAW)
    upstream.plays("manifest", roles.holds(0, going_on := asyncio.Event()))
    async with await house.pull(manifest_path("v1")) as first:
        while not upstream.ledger:
            await asyncio.sleep(0.001)
        gate.closed.add("manifest")
        assert hides(await house.get(manifest_path("v1"), method=method), RAW)
        going_on.set()
        assert (await first.reply()).body == RAW


@gated
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("ping", "/v2/"),
        ("manifest", manifest_path("v1")),
        ("blob", f"/v2/{NAME}/{APP}/blobs/sha256:{'0' * 64}"),
        ("tags", f"/v2/{NAME}/{APP}/tags/list"),
        ("referrers", f"/v2/{NAME}/{APP}/referrers/sha256:{'0' * 64}"),
        ("catalog", "/v2/_catalog"),
    ],
)
async def test_upstream_is_asked_nothing_for_somebody_who_is_not_admitted(
    house: House, upstream: FaultUpstream, kind: str, path: str, method: str
) -> None:
    gate = barrier(house)
    gate.closed.add(kind)
    async with await house.connect() as client:
        await client.ask(path, method=method)
        reply = await client.reply(method)
    assert hides(reply, RAW)
    assert gate.asked.count(kind) >= 1
    assert upstream.ledger == []
    if method == "GET":
        assert json.loads(reply.body)["errors"][0]["code"].endswith(("UNKNOWN", "UNSUPPORTED"))


@gated
async def test_each_request_of_each_kind_passes_the_gate(house: House, upstream: FaultUpstream) -> None:
    gate, digest = barrier(house), upstream.blob(APP, b"x")
    upstream.manifest(APP, "v1", RAW)
    paths = {
        "ping": "/v2/",
        "manifest": manifest_path("v1"),
        "blob": blob_path(digest),
        "tags": f"/v2/{NAME}/{APP}/tags/list",
        "referrers": f"/v2/{NAME}/{APP}/referrers/{digest}",
        "catalog": "/v2/_catalog",
    }
    for kind, path in paths.items():
        for _ in range(3):
            before = gate.asked.count(kind)
            async with await house.pull(path) as client:
                await client.reply()
            assert gate.asked.count(kind) > before
