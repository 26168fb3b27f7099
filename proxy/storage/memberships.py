"""The catalog's memberships as SQL: which repository may have what, and how it came to it."""

import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Any

from proxy.core.names import Digest, Repository
from proxy.storage.contract import Grant, Held, MembershipRecord, RepositoryRecord, Witness
from proxy.storage.database import Database
from proxy.storage.reading import COLUMNS, content_in, digest_in
from proxy.storage.recovery import RowDamaged

_RECORD = "membership.media_type, membership.confirmed_at, membership.granted_by"


INTERN = "INSERT OR IGNORE INTO repository (upstream, name) VALUES (?, ?)"
"""It has a number from then on, by which the other tables name it."""
ID = "(SELECT id FROM repository WHERE upstream = ? AND name = ?)"

_ALLOW = f"""
    INSERT INTO membership (repository, digest, media_type, confirmed_at, granted_by, created_at, image)
    VALUES ({ID}, ?, ?, ?, ?, ?, EXISTS (SELECT 1 FROM content WHERE digest = ? AND media_type <> ''))
    ON CONFLICT (repository, digest) DO UPDATE SET
        media_type = iif(excluded.media_type = '', media_type, excluded.media_type),
        confirmed_at = iif(excluded.confirmed_at > coalesce(confirmed_at, 0), excluded.confirmed_at, confirmed_at),
        granted_by = iif(excluded.granted_by = 'upstream' AND excluded.confirmed_at IS NULL,
            granted_by, excluded.granted_by),
        created_at = coalesce(created_at, excluded.created_at)"""
_RENEW = """
    UPDATE repository SET confirmed_at = max(coalesce(confirmed_at, 0), ?), refused_at = NULL
    WHERE upstream = ? AND name = ?"""
_HELD = f"""
    SELECT {COLUMNS}, {_RECORD} FROM repository
    JOIN membership ON membership.repository = repository.id JOIN content ON content.digest = membership.digest
    WHERE repository.upstream = ? AND name = ? AND membership.digest = ?"""
_DISALLOW = f"DELETE FROM membership WHERE repository = {ID} AND digest = ?"
_UPSTREAMS = """
    SELECT DISTINCT upstream FROM membership JOIN repository ON repository.id = membership.repository
    WHERE digest = ? AND membership.confirmed_at IS NOT NULL"""
_WITNESS = """
    SELECT digest, name, media_type FROM (
        SELECT id, name FROM repository WHERE upstream = ? AND name <> ? AND refused_at IS NULL
        ORDER BY confirmed_at DESC LIMIT 16) AS other
    JOIN membership ON membership.repository = other.id AND membership.confirmed_at IS NOT NULL LIMIT 1"""
_REPOSITORIES = """
    SELECT upstream, name FROM repository
    WHERE (upstream, name) > (?, ?)
        AND EXISTS (SELECT 1 FROM membership WHERE repository = repository.id AND image = 1)
    ORDER BY upstream, name LIMIT ?"""
_REFERRERS = f"""
    SELECT {COLUMNS}, {_RECORD} FROM content
    JOIN membership ON membership.digest = content.digest AND membership.repository = {ID}
    WHERE content.subject = ? AND membership.media_type <> '' ORDER BY content.digest"""
_INDEXES = f"""
    SELECT {COLUMNS}, {_RECORD} FROM child JOIN content ON content.digest = child.parent
    JOIN membership ON membership.digest = content.digest AND membership.repository = {ID}
    WHERE child.child = ? ORDER BY content.used_at DESC, content.digest LIMIT 16"""


class SqliteMemberships:
    """``CatalogMemberships``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def allow(self, repository: Repository, digest: Digest, record: MembershipRecord) -> None:
        await self._database.write(partial(allow, repository, digest, record, None))

    async def allowed(self, repository: Repository, digest: Digest) -> MembershipRecord | None:
        query = f"SELECT {_RECORD} FROM membership WHERE repository = {ID} AND digest = ?"
        found = await self._database.rows(query, (*repository, digest), _record_in)
        return found[0] if found else None

    async def held(self, repository: Repository, digest: Digest) -> Held | None:
        found = await self._database.rows(_HELD, (*repository, digest), _held_in)
        return found[0] if found else None

    async def disallow(self, repository: Repository, digest: Digest) -> None:
        await self._database.change(_DISALLOW, *repository, digest)

    async def repository(self, repository: Repository) -> RepositoryRecord | None:
        query = "SELECT confirmed_at, refused_at FROM repository WHERE upstream = ? AND name = ?"
        found = await self._database.rows(query, tuple(repository), RepositoryRecord._make)
        return found[0] if found else None

    async def renew(self, repository: Repository, at: float) -> None:
        await self._database.change(_RENEW, at, *repository)

    async def suspend(self, repository: Repository, at: float) -> None:
        query = "UPDATE repository SET refused_at = ? WHERE upstream = ? AND name = ?"
        await self._database.change(query, at, *repository)

    async def upstreams(self, digest: Digest) -> set[str]:
        return {upstream for (upstream,) in await self._database.rows(_UPSTREAMS, (digest,), tuple)}

    async def witness(self, beside: Repository) -> Witness | None:
        def witness_in(row: Sequence[Any]) -> Witness:
            return Witness(Repository(beside.upstream, row[1]), digest_in(row), row[2])

        found = await self._database.rows(_WITNESS, tuple(beside), witness_in)
        return found[0] if found else None

    async def repositories(self, after: tuple[str, str] | None, limit: int) -> list[Repository]:
        return await self._database.rows(_REPOSITORIES, (*(after or ("", "")), limit), Repository._make)

    async def referrers(self, repository: Repository, subject: Digest) -> list[Held]:
        return await self._database.rows(_REFERRERS, (*repository, subject), _held_in)

    async def indexes(self, repository: Repository, child: Digest) -> list[Held]:
        return await self._database.rows(_INDEXES, (*repository, child), _held_in)


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
    if confirmed_at is not None:
        connection.execute(_RENEW, (confirmed_at, *repository))


def _record_in(row: Sequence[Any]) -> MembershipRecord:
    """Of ``_RECORD``."""
    media_type, confirmed_at, granted_by = row
    try:
        return MembershipRecord(media_type, confirmed_at, Grant(granted_by))
    except ValueError as error:
        raise RowDamaged(str(error)) from error


def _held_in(row: Sequence[Any]) -> Held:
    """Of ``COLUMNS`` and ``_RECORD``."""
    return Held(content_in(row[:7]), _record_in(row[7:]))
