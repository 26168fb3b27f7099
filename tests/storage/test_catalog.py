"""Every home for knowledge."""

import asyncio

from proxy.core.names import Digest, Repository, Tag
from proxy.storage.contract import FIRST_CURSOR, Catalog, EvictionClass, TagRecord, Usage
from tests.storage.kit import MANIFEST, NGINX, REDIS, blob

LATEST = Tag("latest")


async def test_held_needs_both_content_and_membership(catalog: Catalog) -> None:
    layer = blob("layer")
    await catalog.allow(NGINX, layer.digest)
    assert await catalog.held(NGINX, layer.digest) is None
    await catalog.add(layer, None)
    assert await catalog.held(NGINX, layer.digest) == layer
    assert await catalog.held(REDIS, layer.digest) is None
    assert await catalog.content(layer.digest) == layer
    await catalog.disallow(NGINX, layer.digest)
    await catalog.disallow(REDIS, layer.digest)
    assert await catalog.held(NGINX, layer.digest) is None
    assert await catalog.content(layer.digest) == layer


async def test_the_same_name_at_another_upstream_is_another_repository(catalog: Catalog) -> None:
    await catalog.add(blob("layer"), NGINX)
    assert await catalog.held(Repository("quay.io", NGINX.name), blob("layer").digest) is None


async def test_adding_again_replaces_size_and_type_but_no_age(catalog: Catalog) -> None:
    await catalog.add(blob("m", size=3, used_at=9.0), NGINX)
    await catalog.add(blob("m", size=5)._replace(media_type=MANIFEST, created_at=7.0), REDIS)
    expected = blob("m", size=5, used_at=9.0)._replace(media_type=MANIFEST)
    assert await catalog.held(NGINX, expected.digest) == await catalog.held(REDIS, expected.digest) == expected
    assert await catalog.usage() == Usage(5, 1)


async def test_forgotten_content_leaves_membership_and_tags(catalog: Catalog) -> None:
    layer, other = blob("layer"), blob("other")
    await catalog.add(layer, NGINX)
    await catalog.add(other, NGINX)
    await catalog.set_tag(NGINX, LATEST, TagRecord(layer.digest, 5.0))
    await catalog.forget([layer.digest, Digest.of(b"never held")])
    assert await catalog.held(NGINX, layer.digest) is None
    assert await catalog.held(NGINX, other.digest) == other
    assert await catalog.tag(NGINX, LATEST) == TagRecord(layer.digest, 5.0)
    await catalog.add(layer, None)
    assert await catalog.held(NGINX, layer.digest) == layer


async def test_a_tag_moves_and_goes(catalog: Catalog) -> None:
    assert await catalog.tag(NGINX, LATEST) is None
    for record in (TagRecord(Digest.of(b"1"), 1.0), TagRecord(Digest.of(b"2"), 2.5)):
        await catalog.set_tag(NGINX, LATEST, record)
        assert await catalog.tag(NGINX, LATEST) == record
    assert await catalog.tag(REDIS, LATEST) is None
    assert await catalog.tag(NGINX, Tag("Latest")) is None
    await catalog.drop_tag(NGINX, LATEST)
    await catalog.drop_tag(REDIS, LATEST)
    assert await catalog.tag(NGINX, LATEST) is None


async def test_use_moves_forward_only_and_orders_the_oldest(catalog: Catalog) -> None:
    a, b, c = (blob(name, used_at=at) for name, at in (("a", 1.0), ("b", 2.0), ("c", 3.0)))
    for content in (c, a, b):
        await catalog.add(content, None)
    assert await catalog.idle(EvictionClass.ORPHANS, FIRST_CURSOR, 2) == [a, b]
    await catalog.touch({a.digest: 9.0, c.digest: 1.0, Digest.of(b"unknown"): 5.0})
    assert await catalog.idle(EvictionClass.ORPHANS, FIRST_CURSOR, 10) == [b, c, a._replace(used_at=9.0)]
    await catalog.touch({})


async def test_usage_follows_every_change(catalog: Catalog) -> None:
    assert await catalog.usage() == Usage(0, 0)
    await catalog.add(blob("a", size=10), None)
    await catalog.add(blob("b", size=20), NGINX)
    await catalog.allow(NGINX, Digest.of(b"elsewhere"))
    assert await catalog.usage() == Usage(30, 2)
    await catalog.add(blob("a", size=15), None)
    assert await catalog.usage() == Usage(35, 2)
    await catalog.forget([blob("b").digest, blob("b").digest])
    assert await catalog.usage() == Usage(15, 1)


async def test_repositories_with_a_held_manifest_in_pages(catalog: Catalog) -> None:
    quay = Repository("quay.io", "a/a")
    for repository in (quay, REDIS, NGINX):
        await catalog.add(blob(str(repository))._replace(media_type=MANIFEST), repository)
    await catalog.add(blob("only a layer"), Repository("docker.io", "library/layers"))
    await catalog.allow(Repository("docker.io", "library/promised"), Digest.of(b"promised"))
    assert await catalog.repositories(None, 2) == [NGINX, REDIS]
    assert await catalog.repositories((REDIS.upstream, REDIS.name), 2) == [quay]
    await catalog.forget([blob(str(quay)).digest])
    assert await catalog.repositories(None, 9) == [NGINX, REDIS]


async def test_between_is_half_open_and_in_order(catalog: Catalog) -> None:
    held = sorted((blob(str(number)) for number in range(30)), key=lambda content: content.digest)
    for content in held:
        await catalog.add(content, None)
    assert await catalog.between(held[3].digest, held[9].digest) == held[3:9]
    assert await catalog.between("sha256:", "sha256:g") == held
    assert await catalog.between("sha512:", "sha512:g") == []


async def test_concurrent_callers_lose_nothing(catalog: Catalog) -> None:
    await asyncio.gather(*(catalog.add(blob(str(number), size=2), NGINX) for number in range(100)), catalog.backup())
    assert await catalog.usage() == Usage(200, 100)
