"""What a registry's yes is worth: for how long, for what else, and for whose bytes."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from proxy.cache.imports import OrderedImage
from proxy.core.names import Digest, Repository, Tag
from tests.cast import Act, FaultUpstream, Line, roles
from tests.scenarios.client import Client, Cut
from tests.scenarios.conftest import ELSEWHERE, under
from tests.scenarios.house import APP, NAME, House, MiB, blob_path, manifest_path

Bytes = Callable[[int], bytes]
RAW = json.dumps({"schemaVersion": 2, "config": {}, "layers": []}).encode()
DAY = 86_400.0


async def pulled(house: House, upstream: FaultUpstream, blob: bytes) -> list[str]:
    """The paths of an image that is held: by tag, by digest, and its layer."""
    layer, digest = upstream.blob(APP, blob), upstream.manifest(APP, "v1", RAW)
    paths = [manifest_path("v1"), manifest_path(digest), blob_path(layer)]
    for path in paths:
        assert (await house.get(path)).status == 200
    await house.quiet()
    return paths


async def asked_once_more(upstream: FaultUpstream, before: int) -> None:
    async with asyncio.timeout(10):
        while len(upstream.ledger) == before:
            await asyncio.sleep(0.005)


# ------------------------------------------------------------ how long


async def test_an_old_yes_is_asked_for_again_behind_the_answer_and_renews_the_repository(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    _, manifest, layer = await pulled(house, upstream, some_bytes(1000))
    house.clock.advance(DAY + 1)
    before = len(upstream.ledger)
    assert (await house.get(layer)).headers["cache-status"] == "entrepot; hit"
    await asked_once_more(upstream, before)
    await house.quiet()
    for path in (layer, manifest):
        assert (await house.get(path)).headers["cache-status"] == "entrepot; hit"
    house.clock.advance(DAY - 1)
    await house.restart()
    assert (await house.get(manifest)).status == 200
    assert len(upstream.ledger) == before + 1


async def test_an_old_yes_carries_on_while_upstream_does_not_answer(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    _, manifest, layer = await pulled(house, upstream, some_bytes(MiB))
    upstream.always("blob", roles.fails(503))
    upstream.always("manifest", roles.fails(503))
    for _ in range(3):
        house.clock.advance(10 * DAY)
        for path in (manifest, layer):
            assert (await house.get(path)).headers["cache-status"] == "entrepot; hit"


@pytest.mark.parametrize("answer", [roles.refuses(403), roles.refuses(401), roles.refuses(404, "NAME_UNKNOWN")])
async def test_a_right_that_was_withdrawn_ends_by_tag_by_digest_and_by_layer_until_the_next_yes(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, answer: Act
) -> None:
    paths = await pulled(house, upstream, some_bytes(1000))
    for path in paths:
        await house.get(path)  # what is remembered in prepared bytes goes too
    house.clock.advance(61)
    refuses_all(upstream, answer)
    assert (await house.get(paths[0])).status in (403, 404), "this is what upstream says of the tag"
    for _ in range(2):
        for path in paths:
            for method in ("GET", "HEAD"):
                assert (await house.get(path, method=method)).status in (403, 404)
        await house.restart()
    refuses_all(upstream, roles.fails(503))
    house.clock.advance(11)
    assert {(await house.get(path)).status for path in paths} == {502}, "an outage does not bring it back"
    refuses_all(upstream, roles.steady)
    for path in reversed(paths):
        assert (await house.get(path)).status == 200


async def test_an_import_brings_back_what_a_refusal_suspended_and_nothing_beside_it(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    config, layer = (upstream.blob(APP, raw) for raw in (b"{}", some_bytes(1000)))
    document = {
        "schemaVersion": 2,
        "config": {"digest": config, "size": 2},
        "layers": [{"digest": layer, "size": 1000}],
    }
    digest = upstream.manifest(APP, "v2", json.dumps(document).encode())
    ordered = [manifest_path("v2"), manifest_path(digest), blob_path(config), blob_path(layer)]
    for path in [*await pulled(house, upstream, some_bytes(2000)), *ordered]:
        assert (await house.get(path)).status == 200
    await house.quiet()
    beside = [manifest_path("v1"), manifest_path(Digest.of(RAW))]
    house.clock.advance(61)
    refuses_all(upstream, roles.refuses(403))
    assert {(await house.get(path)).status for path in [*ordered, *beside]} == {403}
    image = OrderedImage(Repository(NAME, APP), Tag("v2"), digest, frozenset({digest, config, layer}))
    await house.cache.imports.order(image)
    for _ in range(2):
        for later in (0, 61, 10 * DAY):
            house.clock.advance(later)
            assert {(await house.get(path)).status for path in ordered} == {200}
            assert {(await house.get(path)).status for path in beside} == {403}
        await house.restart()


async def test_a_credential_that_is_refused_for_every_repository_is_our_outage(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    upstream.manifest("team/other", "v1", RAW)
    assert (await house.get(manifest_path("v1", "team/other"))).status == 200
    paths = await pulled(house, upstream, some_bytes(1000))
    house.clock.advance(61)
    refuses_all(upstream, roles.refuses(403))
    stale = await house.get(paths[0])
    assert (stale.status, stale.headers["cache-status"]) == (200, "entrepot; hit; detail=stale")
    assert {(await house.get(path)).status for path in paths[1:]} == {200}


async def test_one_name_that_is_gone_ends_alone(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    _, manifest, layer = await pulled(house, upstream, some_bytes(1000))
    house.clock.advance(DAY + 1)
    upstream.always("blob", roles.refuses(404, "BLOB_UNKNOWN"))
    before = len(upstream.ledger)
    assert (await house.get(layer)).status == 200
    await asked_once_more(upstream, before)
    async with asyncio.timeout(10):
        while (await house.get(layer)).status != 404:
            await asyncio.sleep(0.005)
    assert (await house.get(manifest)).status == 200


async def test_what_a_pin_keeps_outlives_the_repository_upstream(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    paths = await pulled(house, upstream, some_bytes(1000))
    await house.cache.maintenance.retention.pins.add(f"{NAME}/{APP}:v1")
    refuses_all(upstream, roles.refuses(404, "NAME_UNKNOWN"))
    for _ in range(2):
        house.clock.advance(DAY + 1)
        for path in paths:
            assert (await house.get(path)).status == 200


# ------------------------------------------------------------ a catalog of an older version


async def test_a_grant_of_an_older_version_is_confirmed_before_it_is_used(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    _, manifest, layer = await pulled(house, upstream, some_bytes(1000))
    await unconfirmed(house)
    refuses_all(upstream, roles.fails(503))
    assert {(await house.get(path)).status for path in (manifest, layer)} == {200}, "nobody says no"
    refuses_all(upstream, roles.refuses(404))
    assert {(await house.get(path)).status for path in (manifest, layer)} == {404}


# ------------------------------------------------------------ whose bytes


@pytest.mark.parametrize("held", [True, False], ids=["held", "arriving"])
async def test_a_registry_that_says_to_have_what_another_brought_has_to_send_it(
    house: House, upstream: FaultUpstream, elsewhere: FaultUpstream, some_bytes: Bytes, held: bool
) -> None:
    secret = some_bytes(2 * MiB)
    digest = upstream.blob(APP, secret)
    claim(elsewhere, secret)
    gate = asyncio.Event()
    upstream.plays("blob", roles.holds(MiB, gate))
    async with await house.pull(blob_path(digest)) as owner:
        head = await owner.head()
        if held:
            gate.set()
            assert await owner.rest(head) == secret
            await house.quiet()
        async with await house.connect() as thief:
            await thief.ask(blob_path(digest, "thief/app", ELSEWHERE))
            assert not any(await what_comes(thief)), "what came are zeros, if anything"
        gate.set()


async def test_who_sends_the_same_bytes_is_served_from_then_on(
    house: House, upstream: FaultUpstream, elsewhere: FaultUpstream, some_bytes: Bytes
) -> None:
    blob = some_bytes(2 * MiB)
    digest = upstream.blob(APP, blob)
    for repository in ("a/a", "b/b"):
        elsewhere.blob(repository, blob)
    assert (await house.get(blob_path(digest))).body == blob
    await house.quiet()
    for _ in range(2):
        assert (await house.get(blob_path(digest, "a/a", ELSEWHERE))).body == blob
        await house.quiet()
    assert (await house.get(blob_path(digest, "b/b", ELSEWHERE))).body == blob
    assert [seen.sent for seen in elsewhere.requests("blob")] == [len(blob), 1], "b/b is of the same registry"
    assert house.cache.holdings.budget.committed == len(blob)


@under(trust=lambda _: "group team")
async def test_within_a_trust_group_a_yes_is_enough(
    house: House, upstream: FaultUpstream, elsewhere: FaultUpstream, some_bytes: Bytes
) -> None:
    blob = some_bytes(2 * MiB)
    digest = upstream.blob(APP, blob)
    elsewhere.blob("a/a", blob)
    assert (await house.get(blob_path(digest))).body == blob
    await house.quiet()
    assert (await house.get(blob_path(digest, "a/a", ELSEWHERE))).headers["cache-status"] == "entrepot; hit"
    assert [seen.sent for seen in elsewhere.requests("blob")] == [1]


async def test_the_size_that_a_registry_told_grants_nothing(
    house: House, upstream: FaultUpstream, elsewhere: FaultUpstream, some_bytes: Bytes
) -> None:
    secret = some_bytes(1000)
    digest = upstream.blob(APP, secret)
    claim(elsewhere, secret)
    theirs = blob_path(digest, "thief/app", ELSEWHERE)
    assert (await house.get(theirs, method="HEAD")).status == 200
    assert (await house.get(blob_path(digest))).body == secret
    await house.quiet()
    async with await house.pull(theirs) as thief:
        assert not any(await what_comes(thief))


def claim(upstream: FaultUpstream, secret: bytes) -> None:
    """It says to have the blob, and sends zeros."""

    async def act(line: Line) -> None:
        content = line.ranged()
        await line.answer(content.status, bytes(len(content.body)), content.headers)

    upstream.blob("thief/app", secret)
    upstream.always("blob", act)


async def what_comes(client: Client) -> bytes:
    try:
        return (await client.reply()).body
    except Cut as cut:
        return cut.body


def refuses_all(upstream: FaultUpstream, answer: Act) -> None:
    for kind in ("manifest", "blob"):
        upstream.always(kind, answer)


async def unconfirmed(house: House) -> None:
    """As an older version left the catalog."""
    await house.stop()
    with closing(sqlite3.connect(house.folder / "catalog", isolation_level=None)) as catalog:
        catalog.execute("UPDATE membership SET confirmed_at = NULL")
        catalog.execute("UPDATE repository SET confirmed_at = NULL")
    await house.start()
