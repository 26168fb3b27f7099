"""What is held."""

import asyncio

from proxy.core.names import Digest, Repository, Tag
from proxy.storage.contract import (
    FIRST_CURSOR,
    Catalog,
    EvictionClass,
    Held,
    Member,
    MembershipRecord,
    TagRecord,
    Usage,
)
from tests.storage.kit import MANIFEST, NGINX, REDIS, add, blob, manifest, of, usage

LATEST = Tag("latest")


async def test_held_needs_both_content_and_membership(catalog: Catalog) -> None:
    layer, yes = blob("layer"), MembershipRecord("", 5.0)
    contents = catalog.contents
    await catalog.memberships.allow(NGINX, layer.digest, yes)
    assert await catalog.memberships.held(NGINX, layer.digest) is None
    assert await contents.add(layer) is None
    assert await catalog.memberships.held(NGINX, layer.digest) == Held(layer, yes)
    assert await catalog.memberships.held(REDIS, layer.digest) is None
    assert await contents.get(layer.digest) == layer
    await catalog.memberships.disallow(NGINX, layer.digest)
    await catalog.memberships.disallow(REDIS, layer.digest)
    assert await catalog.memberships.held(NGINX, layer.digest) is None
    assert await contents.get(layer.digest) == layer


async def test_the_same_name_at_another_upstream_is_another_repository(catalog: Catalog) -> None:
    await add(catalog, blob("layer"), NGINX)
    assert await catalog.memberships.held(Repository("quay.io", NGINX.name), blob("layer").digest) is None


async def test_each_repository_has_the_type_that_its_own_upstream_stated(catalog: Catalog) -> None:
    image = manifest("image")
    await add(catalog, image, NGINX)
    await catalog.memberships.allow(REDIS, image.digest, MembershipRecord("application/poison", 2.0))
    for repository, expected in ((NGINX, MANIFEST), (REDIS, "application/poison")):
        held = await catalog.memberships.held(repository, image.digest)
        assert held is not None
        assert held.membership.media_type == expected


async def test_adding_again_replaces_the_size_but_no_age_and_returns_what_was_there(catalog: Catalog) -> None:
    first = blob("m", size=3, used_at=9.0)
    await add(catalog, first, NGINX)
    second = blob("m", size=5)._replace(media_type=MANIFEST, created_at=7.0)
    assert await add(catalog, second, REDIS) == first
    expected = first._replace(size=5, media_type=MANIFEST)
    assert await catalog.contents.get(first.digest) == expected
    assert await usage(catalog) == Usage(5, 1)


async def test_a_manifest_that_comes_as_a_blob_too_stays_a_manifest(catalog: Catalog) -> None:
    image = manifest("image", subject=Digest.of(b"subject"))
    await add(catalog, image, NGINX)
    await add(catalog, blob("image", size=10), REDIS)
    assert await catalog.contents.get(image.digest) == image
    held = await catalog.memberships.held(REDIS, image.digest)
    assert held is not None
    assert held.membership.media_type == "", "whose upstream never called it one"


async def test_forgotten_content_leaves_membership_and_tags(catalog: Catalog) -> None:
    layer, other = blob("layer"), blob("other")
    await add(catalog, layer, NGINX)
    await add(catalog, other, NGINX)
    await catalog.tags.set(NGINX, LATEST, TagRecord(layer.digest, 5.0))
    assert await catalog.contents.forget([layer.digest, Digest.of(b"never held")]) == [layer]
    assert await catalog.memberships.held(NGINX, layer.digest) is None
    assert await catalog.memberships.held(NGINX, other.digest) == Held(other, MembershipRecord("", 1.0))
    assert await catalog.tags.get(NGINX, LATEST) == TagRecord(layer.digest, 5.0)
    await catalog.contents.add(layer)
    assert await catalog.memberships.held(NGINX, layer.digest) == Held(layer, MembershipRecord("", 1.0))


async def test_use_moves_forward_only_and_orders_the_oldest(catalog: Catalog) -> None:
    a, b, c = (blob(name, used_at=at) for name, at in (("a", 1.0), ("b", 2.0), ("c", 3.0)))
    for content in (c, a, b):
        await catalog.contents.add(content)
    assert await catalog.contents.idle(EvictionClass.ORPHANS, FIRST_CURSOR, 2) == [a, b]
    await catalog.contents.touch({a.digest: 9.0, c.digest: 1.0, Digest.of(b"unknown"): 5.0})
    assert await catalog.contents.idle(EvictionClass.ORPHANS, FIRST_CURSOR, 10) == [b, c, a._replace(used_at=9.0)]
    await catalog.contents.touch({})


async def test_usage_follows_every_change(catalog: Catalog) -> None:
    assert await usage(catalog) == Usage(0, 0)
    await catalog.contents.add(blob("a", size=10))
    await add(catalog, blob("b", size=20), NGINX)
    await catalog.memberships.allow(NGINX, Digest.of(b"elsewhere"), MembershipRecord("", None))
    assert await usage(catalog) == Usage(30, 2)
    await catalog.contents.add(blob("a", size=15))
    assert await usage(catalog) == Usage(35, 2)
    await catalog.contents.forget([blob("b").digest, blob("b").digest])
    assert await usage(catalog) == Usage(15, 1)


async def test_between_is_half_open_and_in_order(catalog: Catalog) -> None:
    held = sorted((blob(str(number)) for number in range(30)), key=lambda content: content.digest)
    for content in held:
        await catalog.contents.add(content)
    assert await catalog.contents.between(held[3].digest, held[9].digest) == held[3:9]
    assert await catalog.contents.between("sha256:", "sha256:g") == held
    assert await catalog.contents.between("sha512:", "sha512:g") == []


async def test_concurrent_callers_lose_nothing(catalog: Catalog) -> None:
    new = [blob(str(number), size=2) for number in range(100)]
    adding = (catalog.contents.add(each, (), Member(NGINX, of(NGINX, each).record)) for each in new)
    await asyncio.gather(*adding, catalog.backup())
    assert await usage(catalog) == Usage(200, 100)
