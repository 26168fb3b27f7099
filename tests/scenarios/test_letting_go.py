"""What leaves the cache, when, and what stays."""

import asyncio
import json
import os
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from proxy.cache.holdings import Provenance
from proxy.core.budget import ByteLimits
from proxy.core.errors import StoreFailed
from proxy.core.graph import Membership
from proxy.core.lifecycle import parse_extended_policy
from proxy.core.names import Digest, Repository, Tag
from proxy.core.policies import Assignment
from proxy.storage.contract import Content
from tests.cast import FaultUpstream, ManualClock
from tests.scenarios.conftest import under
from tests.scenarios.house import APP, NAME, House, MiB, blob_path, manifest_path
from tests.scenarios.invariants import disk_bound, index_is_disk, stored
from tests.scenarios.shelf import pull, put_image, put_index

Bytes = Callable[[int], bytes]
HERE = Repository(NAME, APP)
HIT = {"hit"}


def keep_newest(count: int) -> list[Assignment]:
    selection = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": count}
    policy = {"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]}
    return [Assignment((f"{NAME}/*",), parse_extended_policy(json.dumps(policy)))]


async def expire(house: House, rules: list[Assignment]) -> int:
    """The rules once; how many bytes went."""
    async with aclosing(house.cache.maintenance.lifecycle.expire(rules)) as reviews:
        return sum([review.removal.size async for review in reviews])


async def test_an_image_expires_and_the_one_that_shares_a_layer_is_whole_without_the_upstream(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes
) -> None:
    base = some_bytes(MiB)
    old = put_image(upstream, "v1", base, some_bytes(1000))
    new = put_image(upstream, "v2", base, some_bytes(1000))
    await pull(house, old, "v1")
    clock.advance(10)
    await pull(house, new, "v2")
    assert await expire(house, keep_newest(1)) > 1000
    assert set(stored(house.folder)) == new.all
    await index_is_disk(house)
    before = len(upstream.ledger)
    assert await pull(house, new, "v2") == HIT
    assert len(upstream.ledger) == before
    assert "fwd=miss; stored" in await pull(house, old, "v1"), "and the old one is a miss that is fetched again"
    assert set(stored(house.folder)) == old.all | new.all


async def test_nothing_of_an_expired_image_is_remembered(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes
) -> None:
    old = put_image(upstream, "v1", some_bytes(1000))
    await pull(house, old, "v1")
    clock.advance(1)
    await pull(house, put_image(upstream, "v2", some_bytes(1000)), "v2")
    await expire(house, keep_newest(1))
    assert await house.catalog.tags.get(HERE, Tag("v1")) is None
    assert [await house.catalog.memberships.allowed(HERE, digest) for digest in old.all] == [None] * len(old.all)
    reply = await house.get(manifest_path("v1"))
    assert reply.headers["cache-status"] == "entrepot; fwd=miss; stored"
    assert (await house.catalog.tags.get(HERE, Tag("v1"))) is not None


async def test_kept_indexes_are_whole_and_expired_ones_take_their_children_along(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes
) -> None:
    indexes = []
    for number in range(8):
        children = [put_image(upstream, None, some_bytes(500)) for _ in range(3)]
        indexes.append(put_index(upstream, f"v{number}", *children))
        await pull(house, indexes[-1], f"v{number}")
        clock.advance(1)
    await expire(house, keep_newest(5))
    assert set(stored(house.folder)) == set().union(*(index.all for index in indexes[3:]))
    before = len(upstream.ledger)
    for number in range(3, 8):
        assert await pull(house, indexes[number], f"v{number}") == HIT
    assert len(upstream.ledger) == before


async def test_a_signature_goes_with_its_image(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes
) -> None:
    old = put_image(upstream, "v1", some_bytes(500))
    signature = put_image(upstream, None, b"signed", subject=old.digest)
    for image, tag in ((old, "v1"), (signature, None)):
        await pull(house, image, tag)
    clock.advance(1)
    new = put_image(upstream, "v2", some_bytes(500))
    await pull(house, new, "v2")
    await expire(house, keep_newest(1))
    assert set(stored(house.folder)) == new.all


async def test_a_moved_tag_leaves_an_untagged_image_that_rules_may_let_go(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes
) -> None:
    old = put_image(upstream, "v1", some_bytes(500))
    await pull(house, old, "v1")
    new = put_image(upstream, "v1", some_bytes(500))
    clock.advance(100_000)
    await pull(house, new, "v1")
    images = {image.content.digest: image.tags for image in await house.catalog.contents.images(HERE, "", 10)}
    assert images == {old.digest: (), new.digest: ("v1",)}


async def test_what_is_pinned_stays_by_rule_and_for_space_until_it_is_unpinned(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes
) -> None:
    pinned = put_image(upstream, "v1", some_bytes(1000))
    await pull(house, pinned, "v1")
    clock.advance(1)
    new = put_image(upstream, "v2", some_bytes(1000))
    await pull(house, new, "v2")
    maintenance = house.cache.maintenance
    await maintenance.retention.pins.add(f"{NAME}/{APP}:v1")
    assert await expire(house, keep_newest(1)) == 0
    assert await house.cache.space.evict(1 << 40) > 1000
    assert [purge.size async for purge in maintenance.purge(f"{NAME}/{APP}:v1")] == [0]
    assert set(stored(house.folder)) == pinned.all
    await house.restart()
    maintenance = house.cache.maintenance
    assert await house.cache.space.evict(1 << 40) == 0, "pins outlive a restart"
    assert await maintenance.retention.pins.remove(f"{NAME}/{APP}:v1")
    assert await house.cache.space.evict(1 << 40) > 1000
    assert stored(house.folder) == {}


async def test_an_image_of_which_a_part_is_being_read_waits_for_the_next_run(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes
) -> None:
    layer = some_bytes(8 * MiB)
    old = put_image(upstream, "v1", layer)
    await pull(house, old, "v1")
    clock.advance(1)
    await pull(house, put_image(upstream, "v2", some_bytes(10)), "v2")
    async with await house.pull(blob_path(old.parts[1]), buffer=4096) as reader:
        head = await reader.head()
        assert head.headers["cache-status"] == "entrepot; hit"
        assert await expire(house, keep_newest(1)) == 0
        assert set(stored(house.folder)) >= old.all
        assert await reader.rest(head) == layer
        await reader.still_framed()
    await house.quiet()
    assert await expire(house, keep_newest(1)) > 8 * MiB


@under(soft=10 * MiB)
async def test_space_is_made_of_whole_images_least_recently_pulled_first_and_orphans_last(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes
) -> None:
    orphan = upstream.blob(APP, some_bytes(MiB))
    await house.get(blob_path(orphan))
    images = []
    for number in range(3):
        clock.advance(1)
        images.append(put_image(upstream, f"v{number}", some_bytes(MiB), some_bytes(MiB)))
        await pull(house, images[-1], f"v{number}")
    clock.advance(1)
    await pull(house, images[0], "v0")
    await house.cache.space.evict(1)
    assert set(stored(house.folder)) == images[0].all | images[2].all | {orphan}
    await house.cache.space.evict(5 * MiB)
    assert stored(house.folder) == {}


@under(soft=12 * MiB)
async def test_the_disk_never_holds_more_than_the_hard_limit_and_no_image_is_left_in_parts(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes
) -> None:
    images = [put_image(upstream, f"v{number}", *(some_bytes(MiB) for _ in range(3))) for number in range(12)]
    async with disk_bound(house):
        for number, image in enumerate(images):
            clock.advance(1)
            await pull(house, image, f"v{number}")
    await house.cache.space.shrink()
    held = set(stored(house.folder))
    assert all(image.all <= held or not image.all & held for image in images)
    assert images[-1].all <= held
    await index_is_disk(house)


async def test_a_crash_between_the_catalog_and_the_disk_is_finished_at_the_next_start(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = put_image(upstream, "v1", some_bytes(1000))
    kept = put_image(upstream, "v2", some_bytes(1000))
    await pull(house, gone, "v1")
    clock.advance(1)
    await pull(house, kept, "v2")
    refused: list[Digest] = []

    def refuse(_: object, digest: Digest) -> None:
        refused.append(digest)
        raise StoreFailed("as a process that dies here leaves it")

    with monkeypatch.context() as patched:
        patched.setattr(type(house.cache.holdings.store), "remove", refuse)
        await expire(house, keep_newest(1))
    assert set(refused) == gone.all, "the fault has fired"
    assert set(stored(house.folder)) == gone.all | kept.all
    assert house.cache.holdings.budget.committed == sum(stored(house.folder).values()), "what is there counts"
    await house.restart()
    async with asyncio.timeout(10):
        while set(stored(house.folder)) != kept.all:
            await asyncio.sleep(0.01)
    await index_is_disk(house)


async def test_a_purge_by_digest_makes_a_miss_of_one_part_and_the_next_pull_heals_it(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    image = put_image(upstream, "v1", some_bytes(1000), some_bytes(1000))
    await pull(house, image, "v1")
    [purge] = [purge async for purge in house.cache.maintenance.purge(image.parts[1])]
    assert (len(purge.gone), purge.size) == (1, 1000)
    assert set(stored(house.folder)) == image.all - {image.parts[1]}
    assert await pull(house, image, "v1") == {"hit", "fwd=miss; stored"}
    assert await pull(house, image, "v1") == HIT


async def test_a_preview_tells_what_would_go_and_changes_nothing(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes
) -> None:
    shared = some_bytes(MiB)
    for number, repository in enumerate(("team/a", "team/b")):
        for version in range(2):
            image = put_image(
                upstream, f"v{version}", shared if version == 0 else some_bytes(10), repository=repository
            )
            await pull(house, image, f"v{version}", repository)
            clock.advance(1 + number)
    before = stored(house.folder)
    async with aclosing(house.cache.maintenance.lifecycle.preview(keep_newest(1))) as reviews:
        found = [review async for review in reviews]
    assert [len(review.decisions) for review in found] == [1, 1]
    weighed = [review.removal.size for review in found]
    assert stored(house.folder) == before
    assert weighed[0] < MiB < weighed[1], "the layer that both share goes with the second"
    assert await expire(house, keep_newest(1)) == sum(weighed)


async def test_a_bad_content_is_found_put_aside_and_fetched_again(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    good = put_image(upstream, "v1", blob := some_bytes(100_000))
    await pull(house, good, "v1")
    _spoil(house.folder, good.parts[1], b"x" + blob[1:])
    async with aclosing(house.cache.maintenance.scrub.verify(1e12)) as checks:
        checked = [check async for check in checks]
    assert [check.content.digest for check in checked if not check.good] == [good.parts[1]]
    assert len(checked) == len(good.all)
    assert await pull(house, good, "v1") == {"hit", "fwd=miss; stored"}
    async with aclosing(house.cache.maintenance.scrub.verify(1e12)) as checks:
        assert all([check.good async for check in checks])


async def test_a_scrub_goes_on_where_a_restart_broke_it_off(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes
) -> None:
    digests = sorted(upstream.blob(APP, some_bytes(2 * MiB)) for _ in range(4))
    for digest in digests:
        await house.get(blob_path(digest))
    await house.quiet()
    await house.catalog.notes.write_note("scrub", json.dumps({"began_at": clock(), "after": f"{digests[1]}~"}))
    await house.restart()
    scrub = house.cache.maintenance.scrub
    await scrub.resume()
    assert (scrub.stats.contents, scrub.stats.size, scrub.stats.bad) == (2, 4 * MiB, 0)
    note = await house.catalog.notes.note("scrub")
    assert note is not None and json.loads(note) == {"began_at": clock(), "after": "~"}


async def test_seats_of_an_image_in_two_repositories_go_one_by_one(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    layer = some_bytes(1000)
    here = put_image(upstream, "v1", layer)
    for path in list(upstream._content):
        upstream._content[path.replace(APP, "team/b")] = upstream._content[path]
    for repository in (APP, "team/b"):
        await pull(house, here, "v1", repository)
    retention = house.cache.maintenance.retention
    removal, _ = await retention.expire([Membership(HERE, here.digest)])
    assert (len(removal.memberships), removal.freed) == (1, ())
    assert await pull(house, here, "v1", "team/b") == HIT
    removal, _ = await retention.expire([Membership(Repository(NAME, "team/b"), here.digest)])
    assert {node.digest for node in removal.freed} == here.all


def _spoil(folder: Path, digest: Digest, content: bytes) -> None:
    path = folder / "blobs" / digest.algorithm / digest.encoded[:2] / digest.encoded
    found = path.stat()
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(0o444)
    os.utime(path, ns=(found.st_mtime_ns, found.st_mtime_ns))


async def test_an_upstream_above_its_own_budget_makes_room_among_its_own(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes
) -> None:
    elsewhere = some_bytes(MiB)
    other = Repository("other.test", APP)
    ingest = house.cache.holdings.store.begin()
    ingest.write(0, elsewhere)
    reservation = house.cache.holdings.budget.reserve(MiB)
    assert reservation is not None
    content = Content(Digest.of(elsewhere), MiB, "", 1.0, 1.0, other.upstream)
    await house.cache.holdings.commit(ingest, content, Provenance(other), reservation)
    house.shares[NAME] = ByteLimits(10 * MiB)
    images = []
    for number in range(6):
        clock.advance(1)
        images.append(put_image(upstream, f"v{number}", some_bytes(3 * MiB)))
        await pull(house, images[-1], f"v{number}")
    await house.cache.space.shrink()
    held = stored(house.folder)
    assert content.digest in held, "the oldest of all, but of another upstream"
    assert 6 * MiB < sum(held.values()) - MiB <= 10 * MiB
    assert images[-1].all <= set(held)
    too_large = upstream.blob(APP, some_bytes(6 * MiB))
    assert (await house.get(blob_path(too_large))).headers["cache-status"] == "entrepot; fwd=bypass"
