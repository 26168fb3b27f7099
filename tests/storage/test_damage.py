"""A byte of the catalog's file that is not what it was, wherever it lies: no start, list or change fails for it."""

import json
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest

from proxy.core.graph import Membership
from proxy.core.names import Digest, Tag
from proxy.storage.catalog import SqliteCatalog
from proxy.storage.contract import FIRST_CURSOR, EvictionClass, TagRecord
from proxy.storage.recoveries import Recovery
from tests.storage.kit import NGINX, add, blob, manifest

LAYER, CONFIG = blob("layer"), blob("config")
IMAGE = manifest("image")
SIGNATURE = manifest("signature", subject=IMAGE.digest)
GONE = blob("gone")
WRITTEN = {
    "digest of a blob": LAYER.digest,
    "digest of a manifest": IMAGE.digest,
    "digest of a referrer": SIGNATURE.digest,
    "digest of a tombstone": GONE.digest,
    "media type": IMAGE.media_type,
    "upstream": NGINX.upstream,
    "repository": NGINX.name,
    "tag": "v1.2.3-some-tag",
    "pin": "docker.io/library/pinned-*",
    "name of a note": "scrub-note",
    "text of a note": json.dumps({"began_at": 1.0, "after": "~"}),
    "grant": "upstream",
}
FLIPS = {"no UTF-8": 0x80, "another letter": 0x01, "a control character": 0x60}


async def fill(folder: Path) -> None:
    catalog = SqliteCatalog(folder)
    for part in (LAYER, CONFIG):
        await add(catalog, part._replace(upstream=NGINX.upstream), NGINX)
    await add(catalog, IMAGE, NGINX, LAYER, CONFIG)
    await add(catalog, SIGNATURE, NGINX)
    await catalog.contents.add(GONE)
    closure = await catalog.contents.closure([GONE.digest])
    await catalog.contents.release([], [GONE.digest], closure)
    await catalog.tags.set(NGINX, Tag(WRITTEN["tag"]), TagRecord(IMAGE.digest, 1.0))
    await catalog.notes.pin(WRITTEN["pin"])
    await catalog.notes.write_note(WRITTEN["name of a note"], WRITTEN["text of a note"])
    await catalog.close()


def places(raw: bytes, text: str) -> Iterator[int]:
    at = raw.find(text.encode())
    while at >= 0:
        yield at
        at = raw.find(text.encode(), at + 1)


async def use(folder: Path) -> Recovery:
    """Everything that a start, a list, a preview and a purge ask and do."""
    catalog = SqliteCatalog(folder)
    try:
        contents, memberships, notes = catalog.contents, catalog.memberships, catalog.notes
        await contents.usage_by_upstream()
        await notes.pins()
        await notes.note(WRITTEN["name of a note"])
        await contents.tombstones(10)
        held = await contents.between("", "t")
        repositories = await memberships.repositories(None, 10)
        for repository in [NGINX, *repositories]:
            await catalog.tags.list(repository, "", 10)
            await contents.images(repository, "", 10)
            await memberships.referrers(repository, IMAGE.digest)
            await catalog.tags.get(repository, Tag(WRITTEN["tag"]))
            for content in held:
                await memberships.held(repository, content.digest)
        for eviction_class in EvictionClass:
            await contents.idle(eviction_class, FIRST_CURSOR, 10)
            await contents.idle(eviction_class, FIRST_CURSOR, 10, NGINX.upstream)
        await contents.touch({content.digest: 9.0 for content in held})
        await add(catalog, IMAGE, NGINX, LAYER, CONFIG)
        await catalog.tags.set(NGINX, Tag(WRITTEN["tag"]), TagRecord(IMAGE.digest, 2.0))
        while not await released(catalog, [IMAGE.digest, *(content.digest for content in held)]):
            """Mended in between: decided again."""
        await contents.clear_tombstones([each.digest for each in await contents.tombstones(10)])
        await notes.unpin(WRITTEN["pin"])
        await catalog.backup()
        assert catalog.health.trouble == {}
        return catalog.recovered
    finally:
        await catalog.close()


async def released(catalog: SqliteCatalog, digests: list[Digest]) -> bool:
    closure = await catalog.contents.closure(digests)
    leaving = [Membership(place.repository, node.digest) for node in closure.nodes for place in node.places]
    freed = [node.digest for node in closure.nodes]
    return await catalog.contents.release(leaving, freed, closure) is not None


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("kind", WRITTEN)
async def test_one_flipped_byte_in_a_text_costs_its_row_and_nothing_else(tmp_path: Path, kind: str, flip: str) -> None:
    await fill(tmp_path)
    path, text = tmp_path / "catalog", WRITTEN[kind]
    sound = path.read_bytes()
    found = list(places(sound, text))
    assert found, "it is somewhere in the file"
    for place, within in zip(found, cycle((0, len(text) // 2, len(text) - 1)), strict=False):
        for each in tmp_path.glob("catalog*"):
            each.unlink()
        damaged = bytearray(sound)
        damaged[place + within] ^= FLIPS[flip]
        path.write_bytes(damaged)
        await use(tmp_path)
        assert await use(tmp_path) is Recovery.INTACT, "and the next start knows nothing of it"


async def test_what_is_damaged_is_dropped_and_the_rest_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(tmp_path)
    path = tmp_path / "catalog"
    path.write_bytes(path.read_bytes().replace(WRITTEN["pin"].encode(), b"\xff" + WRITTEN["pin"].encode()[1:]))
    catalog = SqliteCatalog(tmp_path)
    assert await catalog.notes.pins() == []
    assert catalog.recovered is Recovery.MENDED
    assert "without 1 rows that could not be read" in caplog.text
    assert {content.digest for content in await catalog.contents.between("", "t")} == {
        each.digest for each in (LAYER, CONFIG, IMAGE, SIGNATURE)
    }
    assert await catalog.tags.list(NGINX, "", 9) == [WRITTEN["tag"]]
    await catalog.close()


async def test_a_digest_with_a_letter_that_is_none_is_never_given_out(tmp_path: Path) -> None:
    await fill(tmp_path)
    path = tmp_path / "catalog"
    path.write_bytes(path.read_bytes().replace(LAYER.digest.encode(), b"sha256:" + b"z" * 64))
    catalog = SqliteCatalog(tmp_path)
    for content in await catalog.contents.between("", "t"):
        assert Digest.parse(content.digest) == content.digest
    await catalog.close()
