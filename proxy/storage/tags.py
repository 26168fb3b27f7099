"""The catalog's tags as SQL: where they pointed when upstream was last asked."""

import sqlite3
from typing import Any

from proxy.core.names import Repository, Tag
from proxy.storage.contract import TagRecord
from proxy.storage.database import Database
from proxy.storage.memberships import ID, INTERN
from proxy.storage.reading import digest_in, tag_in

_GET = f"SELECT digest, checked_at FROM tag WHERE repository = {ID} AND tag = ?"
_SET = f"""
    INSERT INTO tag (repository, tag, digest, checked_at) VALUES ({ID}, ?, ?, ?)
    ON CONFLICT (repository, tag) DO UPDATE SET digest = excluded.digest, checked_at = excluded.checked_at"""
_DROP = f"DELETE FROM tag WHERE repository = {ID} AND tag = ?"
_LIST = f"""
    SELECT tag FROM tag JOIN content ON content.digest = tag.digest
    JOIN membership ON membership.repository = tag.repository AND membership.digest = tag.digest
    WHERE tag.repository = {ID} AND tag > ? ORDER BY tag LIMIT ?"""


class SqliteTags:
    """``CatalogTags``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, repository: Repository, tag: Tag) -> TagRecord | None:
        """As ``CatalogTags.get``."""
        found = await self._database.rows(_GET, (*repository, tag), _record_in)
        return found[0] if found else None

    async def set(self, repository: Repository, tag: Tag, record: TagRecord) -> None:
        """As ``CatalogTags.set``."""

        def point(connection: sqlite3.Connection) -> None:
            connection.execute(INTERN, repository)
            connection.execute(_SET, (*repository, tag, *record))

        await self._database.write(point)

    async def drop(self, repository: Repository, tag: Tag) -> None:
        await self._database.change(_DROP, *repository, tag)

    async def list(self, repository: Repository, after: str, limit: int) -> list[Tag]:
        return await self._database.rows(_LIST, (*repository, after, limit), tag_in)


def _record_in(row: Any) -> TagRecord:
    return TagRecord(digest_in(row), row[1])
