"""The catalog's part in letting go, as SQL: what is idle, what hangs together, what leaves.

Every query is bounded by what it is asked about, never by what is held; the partial indexes of the schema see to it.
"""

import json
import sqlite3
from collections.abc import Sequence

from proxy.core.graph import Membership, Node, Place
from proxy.core.names import Digest, Repository, Tag
from proxy.storage.contract import Closure, Content, HeldImage
from proxy.storage.database import version_of
from proxy.storage.memberships import ID
from proxy.storage.reading import COLUMNS, content_in, digest_in, tag_in

# The type is the repository's own: what is a manifest elsewhere may be a blob here, and no image.
_AS_HERE = COLUMNS.replace("content.media_type", "membership.media_type")
_IMAGES = f"""
    SELECT {_AS_HERE}, coalesce(membership.created_at, content.created_at), membership.repository
    FROM membership INDEXED BY image JOIN content ON content.digest = membership.digest
    WHERE membership.repository = {ID} AND membership.image = 1 AND membership.media_type <> ''
        AND membership.digest > ?
    ORDER BY membership.digest LIMIT ?"""
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
    SELECT repository.id, upstream, name FROM membership JOIN repository ON repository.id = membership.repository
    WHERE membership.digest = ? ORDER BY upstream, name"""
_FORGET = f"DELETE FROM content WHERE digest = ? RETURNING {COLUMNS.replace('content.', '')}"
_TAGS = "SELECT tag FROM tag WHERE repository = ? AND digest = ? ORDER BY tag"
_INDEXES = """
    SELECT parent FROM child JOIN membership ON membership.digest = child.parent AND membership.repository = ?
    WHERE child.child = ?"""


def images(repository: Repository, after: str, limit: int, connection: sqlite3.Connection) -> list[HeldImage]:
    rows = connection.execute(_IMAGES, (*repository, after, limit)).fetchall()
    return [_image(connection, content_in(row[:7]), *row[7:]) for row in rows]


def _image(connection: sqlite3.Connection, content: Content, cached_at: float, repository: int) -> HeldImage:
    tags = tuple(map(tag_in, connection.execute(_TAGS, (repository, content.digest))))
    manifests = tuple(map(digest_in, connection.execute(_MANIFESTS, (content.digest,))))
    (size,) = connection.execute(_WHOLE, (content.digest,)).fetchone()
    return HeldImage(content, cached_at, tags, manifests, size)


def closure(digests: Sequence[Digest], connection: sqlite3.Connection) -> Closure:
    asked = tuple(sorted(set(digests)))
    return Closure(asked, _nodes(connection, asked), version_of(connection))


def _nodes(connection: sqlite3.Connection, asked: Sequence[Digest]) -> list[Node]:
    rows, themselves = connection.execute(_CLOSURE, (json.dumps(asked),)).fetchall(), set(asked)
    return sorted(_node(connection, row, row[0] in themselves) for row in rows)


def _node(connection: sqlite3.Connection, row: tuple[str, int, int, str, int], asked: bool) -> Node:
    _, size, is_manifest, upstream, parents = row
    digest = digest_in(row)
    places = _places(connection, digest) if is_manifest or asked else ()
    if not is_manifest:
        return Node(digest, size, False, upstream, parents, places)
    children = connection.execute("SELECT child FROM child WHERE parent = ? ORDER BY child", (digest,))
    referrers = connection.execute("SELECT digest FROM content WHERE subject = ? ORDER BY digest", (digest,))
    return Node(
        digest, size, True, upstream, parents, places, tuple(map(digest_in, children)), tuple(map(digest_in, referrers))
    )


def _places(connection: sqlite3.Connection, digest: str) -> tuple[Place, ...]:
    rows = connection.execute(_PLACES, (digest,)).fetchall()
    return tuple(_place(connection, number, Repository(*names), digest) for number, *names in rows)


def _place(connection: sqlite3.Connection, number: int, repository: Repository, digest: str) -> Place:
    tags = tuple(map(tag_in, connection.execute(_TAGS, (number, digest))))
    indexes = frozenset(map(digest_in, connection.execute(_INDEXES, (number, digest))))
    return Place(repository, tags, indexes)


_ENTOMB = """
    INSERT OR IGNORE INTO tombstone (digest, size, upstream) SELECT digest, size, upstream FROM content
    WHERE digest = ?"""


def forget(digests: Sequence[Digest], connection: sqlite3.Connection) -> list[Content]:
    gone = [content_in(row) for digest in digests for row in connection.execute(_FORGET, (digest,)).fetchall()]
    connection.executemany("DELETE FROM child WHERE parent = ?", [(digest,) for digest in digests])
    return gone


def release(
    memberships: Sequence[Membership], freed: Sequence[Digest], expected: Closure, connection: sqlite3.Connection
) -> list[tuple[Repository, Tag]] | None:
    """Where the catalog has changed at all, the closure is looked at again; mostly it is another image that changed."""
    if version_of(connection) != expected.version and _nodes(connection, expected.asked) != expected.nodes:
        return None
    untagged = []
    for repository, digest in memberships:
        query = f"DELETE FROM tag WHERE repository = {ID} AND digest = ? RETURNING tag"
        untagged += [(repository, tag_in(row)) for row in connection.execute(query, (*repository, digest)).fetchall()]
    rows = [(*membership.repository, membership.digest) for membership in memberships]
    connection.executemany(f"DELETE FROM membership WHERE repository = {ID} AND digest = ?", rows)
    gone = [(digest,) for digest in freed]
    connection.executemany(_ENTOMB, gone)
    forget(freed, connection)
    connection.executemany("DELETE FROM membership WHERE digest = ?", gone)
    return untagged


def compact(size: int, connection: sqlite3.Connection) -> int:
    """As ``CatalogContents.compact``."""
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    # A script, since it is stepped to its end: the pragma takes a step per page, and has no rows to be fetched.
    connection.executescript(f"PRAGMA incremental_vacuum({max(1, size // page)})")
    (unused,) = connection.execute("PRAGMA freelist_count").fetchone()
    return int(unused) * int(page)
