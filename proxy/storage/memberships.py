"""The catalog's memberships as SQL: which repository may have what, and how it came to it."""

import sqlite3
from functools import partial

from proxy.core.names import Digest, Repository
from proxy.storage.contract import Held, MembershipRecord
from proxy.storage.database import Database
from proxy.storage.reading import COLUMNS, RECORD, held_in, record_in

INTERN = "INSERT OR IGNORE INTO repository (upstream, name) VALUES (?, ?)"
"""It has a number from then on, by which the other tables name it."""
ID = "(SELECT id FROM repository WHERE upstream = ? AND name = ?)"

_ALLOW = f"""
    INSERT INTO membership (repository, digest, media_type, confirmed_at, granted_by, created_at, image)
    VALUES ({ID}, ?, ?, ?, ?, ?, EXISTS (SELECT 1 FROM content WHERE digest = ? AND media_type <> ''))
    ON CONFLICT (repository, digest) DO UPDATE SET
        media_type = iif(excluded.media_type = '', media_type, excluded.media_type),
        confirmed_at = iif(excluded.confirmed_at > coalesce(confirmed_at, 0), excluded.confirmed_at, confirmed_at),
        granted_by = iif(granted_by = 'upstream', granted_by, excluded.granted_by),
        created_at = coalesce(created_at, excluded.created_at)"""
_DISALLOW = f"DELETE FROM membership WHERE repository = {ID} AND digest = ?"
_REPOSITORIES = """
    SELECT upstream, name FROM repository
    WHERE (upstream, name) > (?, ?)
        AND EXISTS (SELECT 1 FROM membership WHERE repository = repository.id AND image = 1)
    ORDER BY upstream, name LIMIT ?"""
_REFERRERS = f"""
    SELECT {COLUMNS}, {RECORD} FROM content
    JOIN membership ON membership.digest = content.digest AND membership.repository = {ID}
    WHERE content.subject = ? AND membership.media_type <> '' ORDER BY content.digest"""
_INDEXES = f"""
    SELECT {COLUMNS}, {RECORD} FROM child JOIN content ON content.digest = child.parent
    JOIN membership ON membership.digest = content.digest AND membership.repository = {ID}
    WHERE child.child = ? ORDER BY content.used_at DESC, content.digest LIMIT 16"""


class SqliteMemberships:
    """``CatalogMemberships``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def allow(self, repository: Repository, digest: Digest, record: MembershipRecord) -> None:
        await self._database.write(partial(allow, repository, digest, record, None))

    async def allowed(self, repository: Repository, digest: Digest) -> MembershipRecord | None:
        query = f"SELECT {RECORD} FROM membership WHERE repository = {ID} AND digest = ?"
        found = await self._database.rows(query, (*repository, digest), record_in)
        return found[0] if found else None

    async def disallow(self, repository: Repository, digest: Digest) -> None:
        await self._database.change(
            f"DELETE FROM membership WHERE repository = {ID} AND digest = ?", *repository, digest
        )

    async def repositories(self, after: tuple[str, str] | None, limit: int) -> list[Repository]:
        return await self._database.rows(_REPOSITORIES, (*(after or ("", "")), limit), Repository._make)

    async def referrers(self, repository: Repository, subject: Digest) -> list[Held]:
        return await self._database.rows(_REFERRERS, (*repository, subject), held_in)

    async def indexes(self, repository: Repository, child: Digest) -> list[Held]:
        return await self._database.rows(_INDEXES, (*repository, child), held_in)


def allow(
    repository: Repository,
    digest: Digest,
    record: MembershipRecord,
    created_at: float | None,
    connection: sqlite3.Connection,
) -> None:
    """Inside a transaction. ``created_at`` is known where the content comes with it, in seconds since the epoch."""
    media_type, confirmed_at, grant = record
    connection.execute(INTERN, repository)
    connection.execute(_ALLOW, (*repository, digest, media_type, confirmed_at, grant.value, created_at, digest))
