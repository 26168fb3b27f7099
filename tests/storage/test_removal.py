"""What every home for knowledge knows of images, of what hangs on them, and of what leaves."""

from collections.abc import Awaitable, Callable, Sequence

import pytest

from proxy.core.graph import Membership, Node, Place
from proxy.core.names import Digest, Repository, Tag
from proxy.storage.contract import (
    FIRST_CURSOR,
    Catalog,
    Content,
    Cursor,
    EvictionClass,
    HeldImage,
    MembershipRecord,
    TagRecord,
    Usage,
)
from tests.storage.kit import MANIFEST, NGINX, REDIS, add, blob, manifest, usage

INDEX = "application/vnd.oci.image.index.v1+json"
V1, V2 = Tag("v1"), Tag("v2")
YES = MembershipRecord(MANIFEST, 1.0)


async def put(catalog: Catalog, content: Content, *children: Content, at: Sequence[Repository] = (NGINX,)) -> Content:
    for repository in at:
        await add(catalog, content, repository, *children)
    return content


async def release(
    catalog: Catalog, memberships: Sequence[Membership], freed: Sequence[Digest]
) -> list[tuple[Repository, Tag]] | None:
    asked = [*freed, *(membership.digest for membership in memberships)]
    return await catalog.contents.release(memberships, freed, await catalog.contents.closure(asked))


async def order(
    catalog: Catalog, eviction_class: EvictionClass, after: Cursor = FIRST_CURSOR, upstream: str | None = None
) -> list[Digest]:
    return [content.digest for content in await catalog.contents.idle(eviction_class, after, 100, upstream)]


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
    await catalog.contents.forget([index.digest, image.digest])
    assert await order(catalog, EvictionClass.IMAGES) == [signature.digest], "its subject is gone"
    assert await order(catalog, EvictionClass.ORPHANS) == [orphan.digest, layer.digest]
    await put(catalog, image, layer)
    assert await order(catalog, EvictionClass.ORPHANS) == [orphan.digest], "a part that was there before its image"


async def test_idle_content_comes_in_pages_and_by_upstream(catalog: Catalog) -> None:
    held = [blob(str(number), used_at=number // 2)._replace(upstream="ab"[number % 2]) for number in range(8)]
    for content in held:
        await catalog.contents.add(content)
    expected = [content.digest for content in sorted(held, key=lambda each: (each.used_at, each.digest))]
    paged: list[Digest] = []
    after = FIRST_CURSOR
    while page := await catalog.contents.idle(EvictionClass.ORPHANS, after, 3):
        paged += [content.digest for content in page]
        after = Cursor(page[-1].used_at, page[-1].digest)
    assert paged == expected
    assert await order(catalog, EvictionClass.ORPHANS, upstream="a") == [each.digest for each in held[::2]]
    assert await catalog.contents.usage_by_upstream() == {"a": Usage(4, 4), "b": Usage(4, 4)}


async def test_bytes_count_to_the_upstream_that_gave_them_first(catalog: Catalog) -> None:
    found = blob("layer", size=5)
    await catalog.contents.add(found)
    await add(catalog, found._replace(upstream="docker.io"), NGINX)
    await add(catalog, found._replace(upstream="quay.io", size=7), REDIS)
    assert {name: each for name, each in (await catalog.contents.usage_by_upstream()).items() if each.entries} == {
        "docker.io": Usage(7, 1)
    }


async def test_the_use_of_a_child_is_one_of_its_index(catalog: Catalog) -> None:
    layer, image, index = blob("layer"), manifest("image"), manifest("index", kind=INDEX)
    await put(catalog, layer)
    await put(catalog, image, layer)
    await put(catalog, index, image)
    await catalog.contents.touch({layer.digest: 7.0})
    assert [(await _used_at(catalog, each)) for each in (layer, image, index)] == [7.0, 1.0, 1.0]
    await catalog.contents.touch({image.digest: 8.0})
    assert [(await _used_at(catalog, each)) for each in (layer, image, index)] == [7.0, 8.0, 8.0]


async def _used_at(catalog: Catalog, content: Content) -> float:
    found = await catalog.contents.get(content.digest)
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
    await add(catalog, one._replace(created_at=5.0), REDIS)
    for tag in (V2, V1):
        await catalog.tags.set(NGINX, tag, TagRecord(index.digest, 1.0))
    children = tuple(sorted([one.digest, two.digest]))
    expected = [
        HeldImage(one, 1.0, (), (), 110),
        HeldImage(two, 1.0, (), (), 1110),
        HeldImage(index, 1.0, (V1, V2), children, 1130),
    ]
    expected.sort(key=lambda image: image.content.digest)
    assert await catalog.contents.images(NGINX, "", 10) == expected
    assert await catalog.contents.images(NGINX, expected[0].content.digest, 1) == expected[1:2]
    assert await catalog.contents.images(REDIS, "", 10) == [HeldImage(one, 5.0, (), (), 110)]
    await catalog.contents.forget([one.digest])
    assert await catalog.contents.images(REDIS, "", 10) == []


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
    await catalog.tags.set(REDIS, V1, TagRecord(image.digest, 1.0))
    found = {node.digest: node for node in (await catalog.contents.closure([index.digest])).nodes}
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
    [alone] = (await catalog.contents.closure([layer.digest, Digest.of(b"never held")])).nodes
    assert [place.repository for place in alone.places] == [NGINX, REDIS], "a blob that is asked about has places"


async def test_a_release_takes_membership_tags_and_bytes_and_remembers_what_is_leaving(catalog: Catalog) -> None:
    layer, image, other = blob("layer"), manifest("image"), manifest("other")
    await put(catalog, layer, at=(NGINX, REDIS))
    await put(catalog, image, layer, at=(NGINX, REDIS))
    await put(catalog, other)
    for repository, tag, content in ((NGINX, V1, image), (NGINX, V2, other), (REDIS, V1, image)):
        await catalog.tags.set(repository, tag, TagRecord(content.digest, 1.0))
    assert await release(catalog, [Membership(NGINX, image.digest)], []) == [(NGINX, V1)]
    assert [await catalog.memberships.allowed(each, image.digest) for each in (NGINX, REDIS)] == [None, YES]
    assert [await catalog.tags.get(*each) is None for each in ((NGINX, V1), (NGINX, V2), (REDIS, V1))] == [
        True,
        False,
        False,
    ]
    assert [each.digest for each in await catalog.contents.tombstones(10)] == []
    assert await release(catalog, [Membership(REDIS, image.digest)], [image.digest, layer.digest]) == [(REDIS, V1)]
    assert [await catalog.memberships.allowed(each, layer.digest) for each in (NGINX, REDIS)] == [None, None]
    assert await usage(catalog) == Usage(10, 1)
    assert sorted(each.digest for each in await catalog.contents.tombstones(10)) == sorted([image.digest, layer.digest])
    assert len(await catalog.contents.tombstones(1)) == 1
    await add(catalog, layer, NGINX)
    assert [each.digest for each in await catalog.contents.tombstones(10)] == [image.digest], (
        "what was added again is not removed"
    )
    await catalog.contents.clear_tombstones([image.digest])
    assert [each.digest for each in await catalog.contents.tombstones(10)] == []
    assert await order(catalog, EvictionClass.ORPHANS) == [layer.digest], "nothing refers to it any more"
    await release(catalog, [Membership(NGINX, image.digest)], [image.digest])
    assert [each.digest for each in await catalog.contents.tombstones(10)] == [], "what is not held does not leave"


async def test_compacting_gives_back_as_much_as_it_is_asked_for_and_ends_with_nothing_unused(catalog: Catalog) -> None:
    held = [blob(str(number)) for number in range(2000)]
    for content in held:
        await add(catalog, content, NGINX)
    await release(catalog, [], [content.digest for content in held])
    await catalog.contents.clear_tombstones([content.digest for content in held])
    left = await catalog.contents.compact(8192)
    while left:
        left, before = await catalog.contents.compact(8192), left
        assert left <= max(0, before - 8192)
    assert await usage(catalog) == Usage(0, 0)


Change = Callable[[Catalog, Content], Awaitable[object]]


async def _tagged(catalog: Catalog, image: Content) -> None:
    await catalog.tags.set(NGINX, V1, TagRecord(image.digest, 1.0))


async def _allowed_elsewhere(catalog: Catalog, image: Content) -> None:
    await catalog.memberships.allow(REDIS, image.digest, YES)


async def _made_a_part(catalog: Catalog, image: Content) -> None:
    await add(catalog, manifest("index", kind=INDEX), NGINX, image)


async def _referred_to(catalog: Catalog, image: Content) -> None:
    await add(catalog, manifest("signature", subject=image.digest), NGINX)


async def _forgotten(catalog: Catalog, image: Content) -> None:
    await catalog.contents.forget([image.digest])


@pytest.mark.parametrize("change", [_tagged, _allowed_elsewhere, _made_a_part, _referred_to, _forgotten])
async def test_a_release_decided_on_what_has_changed_since_is_not_carried_out(catalog: Catalog, change: Change) -> None:
    layer, image = blob("layer"), manifest("image")
    await put(catalog, layer)
    await put(catalog, image, layer)
    seen = await catalog.contents.closure([image.digest])
    await change(catalog, image)
    leaving = [Membership(NGINX, image.digest)]
    assert await catalog.contents.release(leaving, [image.digest, layer.digest], seen) is None
    assert [each.digest for each in await catalog.contents.tombstones(10)] == []
    assert await catalog.memberships.allowed(NGINX, image.digest) == YES
    assert await catalog.contents.get(layer.digest) == layer
    again = await catalog.contents.closure([image.digest])
    assert await catalog.contents.release(leaving, [image.digest, layer.digest], again) is not None


async def test_what_changes_elsewhere_keeps_no_release_from_being_carried_out(catalog: Catalog) -> None:
    image, other = manifest("image"), manifest("other")
    await put(catalog, image)
    seen = await catalog.contents.closure([image.digest])
    await put(catalog, other)
    await catalog.contents.touch({image.digest: 9.0})
    assert await catalog.contents.release([Membership(NGINX, image.digest)], [image.digest], seen) == []
    assert [each.digest for each in await catalog.contents.tombstones(10)] == [image.digest]
