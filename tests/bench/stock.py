"""A folder of Entrepot that holds a great deal, made in seconds.

The rows of its catalog are multiplied in SQLite, since a million calls of the catalog take minutes: edges and members
first, as the triggers of a content count them. Each content has its file, all of the same bytes: hard links of one
small file per shard.
"""

import asyncio
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path

from proxy.core.names import Digest, Repository
from proxy.storage.catalog import SqliteCatalog
from proxy.storage.catalog_files import NAME
from proxy.storage.contract import Content, Member, MembershipRecord
from tests.bench.contents import MANIFEST_TYPE, REPOSITORY

UPSTREAM = "registry.test"
SIZE = 1024  # bytes of each content
_LAYERS = 4  # config included; the last one is shared
_SHARING = 10  # images that share a layer


def stock_blobs(cache: Path, count: int) -> None:
    """So many blobs of one repository."""
    first, *others = (_digest(str(number)) for number in range(count))
    asyncio.run(_add(cache, first))
    with closing(sqlite3.connect(cache / NAME)) as connection, connection:
        (repository,) = connection.execute("SELECT repository FROM membership WHERE digest = ?", (first,)).fetchone()
        _belong(connection, repository, "", others)
        _know(connection, ((digest, "") for digest in others))
    _link(cache, [first, *others])


def stock_images(cache: Path, repositories: Sequence[str], images: int) -> None:
    """So many untagged images in each repository: a manifest with a config, two layers and one that ten share."""
    asyncio.run(_add(cache, _digest("unused")))
    files = []
    with closing(sqlite3.connect(cache / NAME)) as connection, connection:
        for name in repositories:
            added = "INSERT INTO repository (upstream, name) VALUES (?, ?) RETURNING id"
            (repository,) = connection.execute(added, (UPSTREAM, name)).fetchone()
            manifests = [_digest(f"{name} {number}") for number in range(images)]
            edges = [(manifest, layer) for number, manifest in enumerate(manifests) for layer in _layers(name, number)]
            layers = sorted({layer for _, layer in edges})
            connection.executemany("INSERT INTO child (parent, child) VALUES (?, ?)", edges)
            _belong(connection, repository, "", layers)
            _belong(connection, repository, MANIFEST_TYPE, manifests)
            _know(connection, [(layer, "") for layer in layers])
            _know(connection, [(manifest, MANIFEST_TYPE) for manifest in manifests])
            files += [*layers, *manifests]
    _link(cache, [*files, _digest("unused")])


def _layers(name: str, number: int) -> Iterator[Digest]:
    for place in range(_LAYERS - 1):
        yield _digest(f"{name} {number} {place}")
    yield _digest(f"{name} shared {number // _SHARING}")


def _digest(text: str) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(text.encode()).hexdigest()}")


async def _add(cache: Path, digest: Digest) -> None:
    catalog = SqliteCatalog(cache)
    member = Member(Repository(UPSTREAM, REPOSITORY), MembershipRecord("", 1.0))
    await catalog.contents.add(Content(digest, SIZE, "", 1.0, 1.0), (), member)
    await catalog.close()


def _know(connection: sqlite3.Connection, contents: Iterable[tuple[Digest, str]]) -> None:
    columns = "digest, size, media_type, created_at, used_at, upstream"
    known = f"INSERT INTO content ({columns}) VALUES (?, {SIZE}, ?, 1, 1, '{UPSTREAM}')"
    connection.executemany(known, contents)


def _belong(connection: sqlite3.Connection, repository: int, media_type: str, members: Iterable[Digest]) -> None:
    added = "INSERT INTO membership (repository, media_type, digest, created_at, image) VALUES (?, ?, ?, 1, 0)"
    connection.executemany(added, ((repository, media_type, digest) for digest in members))


def _link(cache: Path, digests: Sequence[Digest]) -> None:
    """A file system allows some 65,000 links of one file, so each shard has its own."""
    encoded = sorted(digest.encoded for digest in digests)
    for shard, members in groupby(encoded, key=lambda each: each[:2]):
        folder = cache / "blobs/sha256" / shard
        folder.mkdir(parents=True, exist_ok=True)
        first, *others = (folder / each for each in members)
        first.write_bytes(bytes(SIZE))
        first.chmod(0o444)
        for other in others:
            other.hardlink_to(first)
