"""Where tags point."""

from proxy.core.names import Digest, Tag
from proxy.storage.contract import Catalog, TagRecord
from tests.storage.kit import NGINX, REDIS, add, manifest

LATEST = Tag("latest")


async def test_a_tag_moves_and_goes(catalog: Catalog) -> None:
    tags = catalog.tags
    assert await tags.get(NGINX, LATEST) is None
    for record in (TagRecord(Digest.of(b"1"), 1.0), TagRecord(Digest.of(b"2"), 2.5)):
        await tags.set(NGINX, LATEST, record)
        assert await tags.get(NGINX, LATEST) == record
    assert await tags.get(REDIS, LATEST) is None
    assert await tags.get(NGINX, Tag("Latest")) is None
    await tags.drop(NGINX, LATEST)
    await tags.drop(REDIS, LATEST)
    assert await tags.get(NGINX, LATEST) is None


async def test_tags_of_what_is_held_are_listed_in_pages(catalog: Catalog) -> None:
    image, elsewhere = manifest("image"), manifest("elsewhere")
    await add(catalog, image, NGINX)
    await add(catalog, elsewhere, REDIS)
    for tag in ("v2", "v1", "V3", "v10"):
        await catalog.tags.set(NGINX, Tag(tag), TagRecord(image.digest, 1.0))
    await catalog.tags.set(NGINX, Tag("not-held"), TagRecord(Digest.of(b"gone"), 1.0))
    await catalog.tags.set(NGINX, Tag("not-ours"), TagRecord(elsewhere.digest, 1.0))
    assert await catalog.tags.list(NGINX, "", 3) == ["V3", "v1", "v10"]
    assert await catalog.tags.list(NGINX, "v10", 3) == ["v2"]
    assert await catalog.tags.list(REDIS, "", 3) == []
