"""What every home for knowledge knows of images, of what hangs on them, and of what leaves."""

from collections.abc import Sequence

from proxy.core.graph import Membership, Node, Place
from proxy.core.names import Digest, Repository, Tag
from proxy.storage.contract import FIRST_CURSOR, Catalog, Content, Cursor, EvictionClass, HeldImage, TagRecord, Usage
from tests.storage.kit import MANIFEST, NGINX, REDIS, blob

INDEX = "application/vnd.oci.image.index.v1+json"
V1, V2 = Tag("v1"), Tag("v2")


def manifest(text: str, used_at: float = 1.0, subject: Digest | None = None, kind: str = MANIFEST) -> Content:
    return blob(text, 10, used_at)._replace(media_type=kind, subject=subject)


async def put(catalog: Catalog, content: Content, *children: Content, at: Sequence[Repository] = (NGINX,)) -> Content:
    for repository in at:
        await catalog.add(content, repository, [child.digest for child in children])
    return content


async def order(
    catalog: Catalog, eviction_class: EvictionClass, after: Cursor = FIRST_CURSOR, upstream: str | None = None
) -> list[Digest]:
    return [content.digest for content in await catalog.idle(eviction_class, after, 100, upstream)]


async def test_only_whole_images_and_blobs_of_nobody_are_idle(catalog: Catalog) -> None:
    layer, orphan = blob("layer", used_at=9.0), blob("orphan", used_at=2.0)
    image = manifest("image", 5.0)
    signature = manifest("signature", 1.0, subject=image.digest)
    index = manifest("index", 3.0, kind=INDEX)
    await put(catalog, image, layer)
    for content in (layer, orphan, signature):
        await put(catalog, content)
    assert await order(catalog, EvictionClass.IMAGES) == [image.digest]
    assert await order(catalog, EvictionClass.ORPHANS) == [orphan.digest]
    await put(catalog, index, image)
    assert await order(catalog, EvictionClass.IMAGES) == [index.digest]
    await catalog.forget([index.digest, image.digest])
    assert await order(catalog, EvictionClass.IMAGES) == [signature.digest], "its subject is gone"
    assert await order(catalog, EvictionClass.ORPHANS) == [orphan.digest, layer.digest]
    await put(catalog, image, layer)
    assert await order(catalog, EvictionClass.ORPHANS) == [orphan.digest], "a part that was there before its image"


async def test_idle_content_comes_in_pages_and_by_upstream(catalog: Catalog) -> None:
    held = [blob(str(number), used_at=number // 2)._replace(upstream="ab"[number % 2]) for number in range(8)]
    for content in held:
        await catalog.add(content, None)
    expected = [content.digest for content in sorted(held, key=lambda each: (each.used_at, each.digest))]
    paged: list[Digest] = []
    after = FIRST_CURSOR
    while page := await catalog.idle(EvictionClass.ORPHANS, after, 3):
        paged += [content.digest for content in page]
        after = Cursor(page[-1].used_at, page[-1].digest)
    assert paged == expected
    assert await order(catalog, EvictionClass.ORPHANS, upstream="a") == [each.digest for each in held[::2]]
    assert await catalog.usage_by_upstream() == {"a": Usage(4, 4), "b": Usage(4, 4)}


async def test_bytes_count_to_the_upstream_that_gave_them_first(catalog: Catalog) -> None:
    found = blob("layer", size=5)
    await catalog.add(found, None)
    await catalog.add(found._replace(upstream="docker.io"), NGINX)
    await catalog.add(found._replace(upstream="quay.io", size=7), REDIS)
    assert {name: each for name, each in (await catalog.usage_by_upstream()).items() if each.entries} == {
        "docker.io": Usage(7, 1)
    }


async def test_the_use_of_a_child_is_one_of_its_index(catalog: Catalog) -> None:
    layer, image, index = blob("layer"), manifest("image"), manifest("index", kind=INDEX)
    await put(catalog, layer)
    await put(catalog, image, layer)
    await put(catalog, index, image)
    await catalog.touch({layer.digest: 7.0})
    assert [(await _used_at(catalog, each)) for each in (layer, image, index)] == [7.0, 1.0, 1.0]
    await catalog.touch({image.digest: 8.0})
    assert [(await _used_at(catalog, each)) for each in (layer, image, index)] == [7.0, 8.0, 8.0]


async def _used_at(catalog: Catalog, content: Content) -> float:
    found = await catalog.content(content.digest)
    assert found is not None
    return found.used_at


async def test_images_of_a_repository_with_their_tags_children_and_whole_size(catalog: Catalog) -> None:
    shared, layer = blob("shared", 100), blob("layer", 1000)
    one, two = manifest("one"), manifest("two")
    index = manifest("index", kind=INDEX)
    for content in (shared, layer):
        await put(catalog, content, at=(NGINX, REDIS))
    await put(catalog, one, shared)
    await put(catalog, two, shared, layer)
    await put(catalog, index, one, two, manifest("never held"))
    await catalog.add(one._replace(created_at=5.0), REDIS)
    for tag in (V2, V1):
        await catalog.set_tag(NGINX, tag, TagRecord(index.digest, 1.0))
    children = tuple(sorted([one.digest, two.digest]))
    expected = [
        HeldImage(one, 1.0, (), (), 110),
        HeldImage(two, 1.0, (), (), 1110),
        HeldImage(index, 1.0, (V1, V2), children, 1130),
    ]
    expected.sort(key=lambda image: image.content.digest)
    assert await catalog.images(NGINX, "", 10) == expected
    assert await catalog.images(NGINX, expected[0].content.digest, 1) == expected[1:2]
    assert await catalog.images(REDIS, "", 10) == [HeldImage(one, 5.0, (), (), 110)]
    await catalog.forget([one.digest])
    assert await catalog.images(REDIS, "", 10) == []


async def test_kin_are_all_below_and_all_about(catalog: Catalog) -> None:
    layer, image = blob("layer"), manifest("image")
    index = manifest("index", kind=INDEX)
    signature = manifest("signature", subject=image.digest)
    stranger = manifest("stranger")
    await put(catalog, layer, at=(NGINX, REDIS))
    await put(catalog, image, layer, at=(NGINX, REDIS))
    await put(catalog, index, image)
    await put(catalog, signature)
    await put(catalog, stranger, layer)
    await catalog.set_tag(REDIS, V1, TagRecord(image.digest, 1.0))
    found = {node.digest: node for node in await catalog.closure([index.digest])}
    indexes = frozenset({index.digest})
    assert found == {
        index.digest: Node(index.digest, 10, True, "", 0, (Place(NGINX),), (image.digest,)),
        image.digest: Node(
            image.digest, 10, True, "", 1, (Place(NGINX, (), indexes), Place(REDIS, (V1,))), (layer.digest,),
            (signature.digest,),
        ),
        signature.digest: Node(signature.digest, 10, True, "", 0, (Place(NGINX),)),
        layer.digest: Node(layer.digest, 1, False, "", 2),
    }  # fmt: skip
    [alone] = await catalog.closure([layer.digest, Digest.of(b"never held")])
    assert [place.repository for place in alone.places] == [NGINX, REDIS], "a blob that is asked about has places"


async def test_a_release_takes_membership_tags_and_bytes_and_remembers_what_is_leaving(catalog: Catalog) -> None:
    layer, image, other = blob("layer"), manifest("image"), manifest("other")
    await put(catalog, layer, at=(NGINX, REDIS))
    await put(catalog, image, layer, at=(NGINX, REDIS))
    await put(catalog, other)
    for repository, tag, content in ((NGINX, V1, image), (NGINX, V2, other), (REDIS, V1, image)):
        await catalog.set_tag(repository, tag, TagRecord(content.digest, 1.0))
    assert await catalog.release([Membership(NGINX, image.digest)], []) == [(NGINX, V1)]
    assert [await catalog.allowed(each, image.digest) for each in (NGINX, REDIS)] == [False, True]
    assert [await catalog.tag(*each) is None for each in ((NGINX, V1), (NGINX, V2), (REDIS, V1))] == [
        True,
        False,
        False,
    ]
    assert await catalog.tombstones(10) == []
    assert await catalog.release([Membership(REDIS, image.digest)], [image.digest, layer.digest]) == [(REDIS, V1)]
    assert [await catalog.allowed(each, layer.digest) for each in (NGINX, REDIS)] == [False, False]
    assert await catalog.usage() == Usage(10, 1)
    assert sorted(await catalog.tombstones(10)) == sorted([image.digest, layer.digest])
    assert len(await catalog.tombstones(1)) == 1
    await catalog.add(layer, NGINX)
    assert await catalog.tombstones(10) == [image.digest], "what was added again is not removed"
    await catalog.left([image.digest])
    assert await catalog.tombstones(10) == []
    assert await order(catalog, EvictionClass.ORPHANS) == [layer.digest], "nothing refers to it any more"
    await catalog.release([Membership(NGINX, image.digest)], [image.digest])
    assert await catalog.tombstones(10) == [], "what is not held does not leave"


async def test_membership_is_known_whether_held_or_not(catalog: Catalog) -> None:
    digest = Digest.of(b"x")
    assert not await catalog.allowed(NGINX, digest)
    await catalog.allow(NGINX, digest)
    assert (await catalog.allowed(NGINX, digest), await catalog.allowed(REDIS, digest)) == (True, False)
    await catalog.disallow(NGINX, digest)
    assert not await catalog.allowed(NGINX, digest)


async def test_pins_and_notes_are_kept(catalog: Catalog) -> None:
    assert (await catalog.pins(), await catalog.note("scrub")) == ([], None)
    for pattern in ("b/*", "a/b:v1", "b/*"):
        await catalog.pin(pattern)
    assert await catalog.pins() == ["a/b:v1", "b/*"]
    assert [await catalog.unpin("b/*"), await catalog.unpin("b/*")] == [True, False]
    for text in ("one", "two"):
        await catalog.write_note("scrub", text)
    assert await catalog.note("scrub") == "two"


async def test_compacting_gives_back_as_much_as_it_is_asked_for_and_ends_with_nothing_unused(catalog: Catalog) -> None:
    held = [blob(str(number)) for number in range(2000)]
    for content in held:
        await catalog.add(content, NGINX)
    await catalog.release([], [content.digest for content in held])
    await catalog.left([content.digest for content in held])
    left = await catalog.compact(8192)
    while left:
        left, before = await catalog.compact(8192), left
        assert left <= max(0, before - 8192)
    assert await catalog.usage() == Usage(0, 0)
