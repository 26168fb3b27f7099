"""The catalog's part in letting go, as SQL: what is idle, what hangs together, what leaves.

Every query is bounded by what it is asked about, never by what is held; the partial indexes of the schema see to it.
"""

import json
import sqlite3
from collections.abc import Sequence

from proxy.core.graph import Membership, Node, Place
from proxy.core.names import Digest, Repository, Tag
from proxy.storage.contract import Content, Cursor, EvictionClass, HeldImage
from proxy.storage.rows import COLUMNS, ID, content_of

_CLASSES = {
    EvictionClass.IMAGES: """media_type <> '' AND parents = 0
        AND NOT EXISTS (SELECT 1 FROM content AS about WHERE about.digest = content.subject)""",
    EvictionClass.ORPHANS: "media_type = '' AND parents = 0",
}
_IMAGES = f"""
    SELECT {COLUMNS}, coalesce(member.created_at, content.created_at), member.repository
    FROM member INDEXED BY image JOIN content ON content.digest = member.digest
    WHERE member.repository = {ID} AND member.image = 1 AND member.digest > ? ORDER BY member.digest LIMIT ?"""
_WHOLE = """
    WITH RECURSIVE part (digest) AS (
        VALUES (?) UNION SELECT child FROM child JOIN part ON child.parent = part.digest)
    SELECT sum(size) FROM part JOIN content ON content.digest = part.digest"""
_MANIFESTS = """
    SELECT child FROM child JOIN content ON content.digest = child.child
    WHERE parent = ? AND media_type <> '' ORDER BY child"""
_CLOSURE = """
    WITH RECURSIVE closure (digest) AS (
        SELECT value FROM json_each(?)
        UNION SELECT child FROM child JOIN closure ON child.parent = closure.digest
        UNION SELECT content.digest FROM content JOIN closure ON content.subject = closure.digest)
    SELECT content.digest, size, media_type <> '', upstream, parents
    FROM closure JOIN content ON content.digest = closure.digest"""
_PLACES = """
    SELECT repository.id, upstream, name FROM member JOIN repository ON repository.id = member.repository
    WHERE member.digest = ? ORDER BY upstream, name"""
_TAGS = "SELECT tag FROM tag WHERE repository = ? AND digest = ? ORDER BY tag"
_INDEXES = """
    SELECT parent FROM child JOIN member ON member.digest = child.parent AND member.repository = ?
    WHERE child.child = ?"""


def idle(
    connection: sqlite3.Connection, eviction_class: EvictionClass, after: Cursor, limit: int, upstream: str | None
) -> list[Content]:
    mine, values = ("", ()) if upstream is None else ("upstream = ? AND", (upstream,))
    query = f"""SELECT {COLUMNS} FROM content WHERE {mine} (used_at, digest) > (?, ?) AND {_CLASSES[eviction_class]}
        ORDER BY used_at, digest LIMIT ?"""
    return [content_of(row) for row in connection.execute(query, (*values, *after, limit))]


def images(connection: sqlite3.Connection, repository: Repository, after: str, limit: int) -> list[HeldImage]:
    rows = connection.execute(_IMAGES, (*repository, after, limit)).fetchall()
    return [_image(connection, content_of(row[:7]), *row[7:]) for row in rows]


def _image(connection: sqlite3.Connection, content: Content, cached_at: float, repository: int) -> HeldImage:
    tags = tuple(Tag(tag) for (tag,) in connection.execute(_TAGS, (repository, content.digest)))
    manifests = tuple(Digest(digest) for (digest,) in connection.execute(_MANIFESTS, (content.digest,)))
    (size,) = connection.execute(_WHOLE, (content.digest,)).fetchone()
    return HeldImage(content, cached_at, tags, manifests, size)


def closure(connection: sqlite3.Connection, digests: Sequence[Digest]) -> list[Node]:
    asked = set(digests)
    rows = connection.execute(_CLOSURE, (json.dumps(sorted(asked)),)).fetchall()
    return [_node(connection, row, row[0] in asked) for row in rows]


def _node(connection: sqlite3.Connection, row: tuple[str, int, int, str, int], asked: bool) -> Node:
    digest, size, is_manifest, upstream, parents = row
    places = _places(connection, digest) if is_manifest or asked else ()
    if not is_manifest:
        return Node(Digest(digest), size, False, upstream, parents, places)
    children = connection.execute("SELECT child FROM child WHERE parent = ? ORDER BY child", (digest,))
    referrers = connection.execute("SELECT digest FROM content WHERE subject = ? ORDER BY digest", (digest,))
    return Node(
        Digest(digest), size, True, upstream, parents, places,
        tuple(Digest(child) for (child,) in children), tuple(Digest(referrer) for (referrer,) in referrers),
    )  # fmt: skip


def _places(connection: sqlite3.Connection, digest: str) -> tuple[Place, ...]:
    rows = connection.execute(_PLACES, (digest,)).fetchall()
    return tuple(_place(connection, number, Repository(*names), digest) for number, *names in rows)


def _place(connection: sqlite3.Connection, number: int, repository: Repository, digest: str) -> Place:
    tags = tuple(Tag(tag) for (tag,) in connection.execute(_TAGS, (number, digest)))
    indexes = frozenset(Digest(index) for (index,) in connection.execute(_INDEXES, (number, digest)))
    return Place(repository, tags, indexes)


def release(
    connection: sqlite3.Connection, memberships: Sequence[Membership], freed: Sequence[Digest]
) -> list[tuple[Repository, Tag]]:
    untagged = []
    for repository, digest in memberships:
        query = f"DELETE FROM tag WHERE repository = {ID} AND digest = ? RETURNING tag"
        untagged += [(repository, Tag(tag)) for (tag,) in connection.execute(query, (*repository, digest)).fetchall()]
    rows = [(*membership.repository, membership.digest) for membership in memberships]
    connection.executemany(f"DELETE FROM member WHERE repository = {ID} AND digest = ?", rows)
    gone = [(digest,) for digest in freed]
    connection.executemany("INSERT OR IGNORE INTO leaving (digest) SELECT digest FROM content WHERE digest = ?", gone)
    connection.executemany("DELETE FROM content WHERE digest = ?", gone)
    connection.executemany("DELETE FROM child WHERE parent = ?", gone)
    connection.executemany("DELETE FROM member WHERE digest = ?", gone)
    return untagged


def tombstones(connection: sqlite3.Connection, limit: int) -> list[Digest]:
    return [Digest(found) for (found,) in connection.execute("SELECT digest FROM leaving LIMIT ?", (limit,))]


def left(connection: sqlite3.Connection, digests: Sequence[Digest]) -> None:
    connection.executemany("DELETE FROM leaving WHERE digest = ?", [(digest,) for digest in digests])


def compact(connection: sqlite3.Connection, size: int) -> int:
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    # A script, since it is stepped to its end: the pragma takes a step per page, and has no rows to be fetched.
    connection.executescript(f"PRAGMA incremental_vacuum({max(1, size // page)})")
    (unused,) = connection.execute("PRAGMA freelist_count").fetchone()
    return int(unused) * int(page)
