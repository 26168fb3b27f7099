"""A catalog of an older version: everything that it knew is known."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from proxy.core.names import Digest, Tag
from proxy.storage.catalog import SqliteCatalog
from proxy.storage.contract import FIRST_CURSOR, EvictionClass, Held, MembershipRecord, TagRecord, Tombstone, Usage
from proxy.storage.recoveries import Recovery
from tests.storage.kit import MANIFEST, NGINX, blob, manifest, usage

LAYER = blob("layer")._replace(size=100, upstream=NGINX.upstream)
IMAGE = manifest("image")._replace(upstream=NGINX.upstream)
PROMISED, GONE = Digest.of(b"promised"), Digest.of(b"gone")
LATEST = Tag("latest")


def version_1(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "catalog", isolation_level=None)) as old:
        old.executescript((Path(__file__).parent / "catalog_version_1.sql").read_text())
        old.execute("INSERT INTO repository (id, upstream, name) VALUES (7, ?, ?)", NGINX)
        content = "INSERT INTO content (digest, size, media_type, created_at, used_at, upstream, subject)"
        old.executemany(f"{content} VALUES (?, ?, ?, ?, ?, ?, ?)", [LAYER, IMAGE])
        members = [(LAYER.digest, 3.0), (IMAGE.digest, None), (PROMISED, None)]
        old.executemany("INSERT INTO member (repository, digest, created_at, image) VALUES (7, ?, ?, 0)", members)
        old.execute("INSERT INTO child (parent, child) VALUES (?, ?)", (IMAGE.digest, LAYER.digest))
        old.execute("INSERT INTO tag (repository, tag, digest, checked_at) VALUES (7, ?, ?, 5)", (LATEST, IMAGE.digest))
        old.execute("INSERT INTO leaving (digest) VALUES (?)", (GONE,))
        old.execute("INSERT INTO pin (pattern) VALUES ('a/*')")
        old.execute("INSERT INTO note (name, text) VALUES ('scrub', 'far')")


async def test_the_first_version_is_brought_over_with_everything(tmp_path: Path) -> None:
    version_1(tmp_path)
    catalog = SqliteCatalog(tmp_path)
    assert catalog.recovered is Recovery.MIGRATED
    contents, memberships = catalog.contents, catalog.memberships
    assert await memberships.held(NGINX, IMAGE.digest) == Held(IMAGE, MembershipRecord(MANIFEST, None))
    assert await memberships.held(NGINX, LAYER.digest) == Held(LAYER, MembershipRecord("", None))
    assert await memberships.allowed(NGINX, PROMISED) == MembershipRecord("", None), (
        "nobody knows when it was confirmed"
    )
    assert await catalog.tags.get(NGINX, LATEST) == TagRecord(IMAGE.digest, 5.0)
    assert await catalog.tags.list(NGINX, "", 9) == [LATEST]
    assert await memberships.repositories(None, 9) == [NGINX]
    [image] = await contents.images(NGINX, "", 9)
    assert (image.tags, image.size) == ((LATEST,), 110)
    assert await contents.tombstones(9) == [Tombstone(GONE, 0, "")], "nobody wrote down how large it was"
    assert await contents.idle(EvictionClass.ORPHANS, FIRST_CURSOR, 9) == [], "the layer is part of an image"
    assert (await catalog.notes.pins(), await catalog.notes.note("scrub")) == (["a/*"], "far")
    assert await usage(catalog) == Usage(110, 2)
    await catalog.close()
    again = SqliteCatalog(tmp_path)
    assert again.recovered is Recovery.INTACT
    await again.close()


async def test_what_was_only_in_the_log_of_an_old_catalog_is_brought_over_too(tmp_path: Path) -> None:
    version_1(tmp_path)
    with closing(sqlite3.connect(tmp_path / "catalog", isolation_level=None)) as running:
        running.execute("INSERT INTO pin (pattern) VALUES ('late')")
        files = {path.name: path.read_bytes() for path in tmp_path.glob("catalog*")}
    killed = tmp_path / "killed"
    killed.mkdir()
    for name, content in files.items():
        (killed / name).write_bytes(content)
    assert files["catalog-wal"], "the last write is not in the file itself"
    catalog = SqliteCatalog(killed)
    assert await catalog.notes.pins() == ["a/*", "late"]
    await catalog.close()


async def test_a_migration_that_fails_leaves_the_old_catalog_as_it_was_and_goes_on_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version_1(tmp_path)
    failed = []

    def fail(*_: object) -> None:
        failed.append(True)
        raise OSError("no more")

    with monkeypatch.context() as patched:
        patched.setattr("proxy.storage.recovery.sync_file", fail)
        in_memory = SqliteCatalog(tmp_path)
        assert "no more" in in_memory.health.trouble["catalog"]
        assert await usage(in_memory) == Usage(110, 2)
        await in_memory.close()
    assert failed
    catalog = SqliteCatalog(tmp_path)
    assert catalog.recovered is Recovery.MIGRATED
    assert await usage(catalog) == Usage(110, 2)
    await catalog.close()
