"""Held is not allowed: what came through one repository is given to another only once upstream says that it may."""

import asyncio
from collections.abc import Callable
from itertools import product

import pytest

from proxy.core.freshness import TagRules
from proxy.core.names import Digest
from tests.cast import FaultUpstream, Line, Seen, roles
from tests.scenarios.conftest import under
from tests.scenarios.house import APP, NAME, House, MiB, blob_path, manifest_path
from tests.scenarios.invariants import fetches

Bytes = Callable[[int], bytes]
OTHER = "somebody/else"


async def test_a_held_private_blob_is_not_given_to_another_repository(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, some_bytes(MiB))
    await house.get(blob_path(digest))
    await house.quiet()
    for method in ("GET", "HEAD"):
        assert (await house.get(blob_path(digest, OTHER), method=method)).status == 404
    assert (await house.get(blob_path(digest, OTHER), {"Range": "bytes=0-9"})).status == 404
    assert len(_asked(upstream, OTHER)) == 1  # and the answer is remembered
    house.clock.advance(11)
    assert (await house.get(blob_path(digest, OTHER))).status == 404
    assert len(_asked(upstream, OTHER)) == 2
    assert (await house.get(blob_path(digest))).headers["cache-status"] == "entrepot; hit"


@under(tags=TagRules(negative_ttl=0.0))
async def test_where_no_absence_is_remembered_each_is_still_a_no(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    held, arriving = upstream.blob(APP, some_bytes(MiB)), upstream.blob(APP, blob := some_bytes(2 * MiB))
    await house.get(blob_path(held))
    await house.quiet()
    upstream.plays("blob", roles.holds(MiB, gate := asyncio.Event()))
    async with await house.pull(blob_path(arriving)) as tasks:
        head = await tasks.head()
        for digest, method in product((held, arriving), ("GET", "HEAD")):
            assert (await house.get(blob_path(digest, OTHER), method=method)).status == 404
        gate.set()
        assert await tasks.rest(head) == blob


async def test_an_arriving_private_blob_is_not_given_to_another_repository(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(2 * MiB))
    upstream.plays("blob", roles.holds(MiB, gate := asyncio.Event()))
    async with await house.pull(blob_path(digest)) as tasks:
        head = await tasks.head()
        for method in ("GET", "HEAD"):
            assert (await house.get(blob_path(digest, OTHER), method=method)).status == 404
        gate.set()
        assert await tasks.rest(head) == blob


async def test_a_blob_that_is_being_opened_for_one_repository_is_not_given_to_another(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(MiB))
    gate = asyncio.Event()

    async def hesitates(line: Line) -> None:
        await gate.wait()
        await roles.steady(line)

    upstream.plays("blob", hesitates)
    async with await house.pull(blob_path(digest)) as tasks, await house.pull(blob_path(digest, OTHER)) as other:
        while not upstream.requests("blob"):
            await asyncio.sleep(0.005)
        gate.set()
        assert (await other.reply()).status == 404
        assert (await tasks.reply()).body == blob


async def test_a_repository_that_may_have_it_costs_one_check_and_no_transfer(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(MiB))
    upstream.blob(OTHER, blob)
    await house.get(blob_path(digest))
    await house.quiet()
    replies = await asyncio.gather(*(house.get(blob_path(digest, OTHER)) for _ in range(20)))
    assert {(reply.body == blob, reply.headers["cache-status"]) for reply in replies} == {(True, "entrepot; hit")}
    (check,) = _asked(upstream, OTHER)
    assert check.sent <= 1
    assert fetches(upstream, digest) == 2


async def test_a_repository_that_may_have_it_joins_the_fill_of_another(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(2 * MiB))
    upstream.blob(OTHER, blob)
    upstream.plays(f"/v2/{APP}/blobs/{digest}", roles.holds(MiB, gate := asyncio.Event()))
    async with await house.pull(blob_path(digest)) as first, await house.pull(blob_path(digest, OTHER)) as second:
        heads = [await first.head(), await second.head()]
        assert heads[1].headers["cache-status"] == "entrepot; fwd=miss; collapsed"
        gate.set()
        assert await first.rest(heads[0]) == await second.rest(heads[1]) == blob
    assert sum(seen.sent for seen in _asked(upstream, OTHER)) <= 1


@pytest.mark.parametrize("kind", ["blobs", "manifests"])
async def test_what_upstream_has_no_more_for_a_repository_is_not_given_to_it_when_another_brings_it(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, kind: str
) -> None:
    content = some_bytes(MiB) if kind == "blobs" else b'{"schemaVersion":2,"config":{},"layers":[]}'

    def brought_by(repository: str) -> Digest:
        if kind == "blobs":
            return upstream.blob(repository, content)
        return upstream.manifest(repository, None, content)

    def path(repository: str) -> str:
        return f"/v2/{NAME}/{repository}/{kind}/{digest}"

    digest = brought_by(APP)
    assert (await house.get(path(APP))).body == content
    await house.quiet()
    await house.restart()
    (house.folder / "blobs" / "sha256" / digest.encoded[:2] / digest.encoded).unlink()  # a disk may lose it
    upstream.remove(f"/v2/{APP}/{kind}/{digest}")
    assert (await house.get(path(APP))).status == 404
    brought_by(OTHER)
    assert (await house.get(path(OTHER))).body == content
    await house.quiet()
    house.clock.advance(11)  # by then nobody remembers that it was not there
    assert (await house.get(path(APP))).status == 404


async def test_membership_survives_a_restart(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    digest = upstream.blob(APP, blob := some_bytes(MiB))
    await house.get(blob_path(digest))
    await house.quiet()
    upstream.always("blob", roles.fails())
    await house.restart()
    assert (await house.get(blob_path(digest))).body == blob
    assert len(upstream.requests("blob")) == 1
    assert (await house.get(blob_path(digest, OTHER))).status == 502


async def test_a_check_that_upstream_does_not_answer_is_an_outage_and_not_an_absence(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(MiB))
    upstream.blob(OTHER, blob)
    await house.get(blob_path(digest))
    await house.quiet()
    upstream.always("blob", roles.fails(500))
    assert (await house.get(blob_path(digest, OTHER))).status == 502
    upstream.always("blob", roles.steady)
    assert (await house.get(blob_path(digest, OTHER))).body == blob


async def test_a_manifest_of_one_repository_is_fetched_again_for_another(house: House, upstream: FaultUpstream) -> None:
    raw = b'{"schemaVersion":2,"config":{},"layers":[]}'
    digest = upstream.manifest(APP, "v1", raw)
    await house.get(manifest_path(digest))
    assert (await house.get(manifest_path(digest, OTHER))).status == 404
    upstream.manifest(OTHER, None, raw)
    house.clock.advance(11)
    assert (await house.get(manifest_path(digest, OTHER))).body == raw


async def test_what_a_manifest_lists_is_not_granted_by_it(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    secret = upstream.blob(APP, some_bytes(MiB))
    await house.get(blob_path(secret))
    await house.quiet()
    layer = f'{{"mediaType":"application/octet-stream","digest":"{secret}","size":{MiB}}}'
    upstream.manifest(OTHER, "v1", f'{{"schemaVersion":2,"config":{layer},"layers":[{layer}]}}'.encode())
    assert (await house.get(manifest_path("v1", OTHER))).status == 200
    assert (await house.get(blob_path(secret, OTHER))).status == 404


def _asked(upstream: FaultUpstream, repository: str) -> list[Seen]:
    return [seen for seen in upstream.requests("blob") if seen.target.startswith(f"/v2/{repository}/")]
