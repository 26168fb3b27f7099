"""The catalog's notes and pins as SQL."""

from typing import Any

from proxy.storage.database import Database


class SqliteNotes:
    """``CatalogNotes``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(self, name: str) -> str | None:
        found = await self._database.rows("SELECT text FROM note WHERE name = ?", (name,), _first)
        return found[0] if found else None

    async def write_note(self, name: str, text: str) -> None:
        await self._database.change("INSERT OR REPLACE INTO note (name, text) VALUES (?, ?)", name, text)

    async def pins(self) -> list[str]:
        return await self._database.rows("SELECT pattern FROM pin ORDER BY pattern", (), _first)

    async def pin(self, pattern: str) -> None:
        await self._database.change("INSERT OR IGNORE INTO pin (pattern) VALUES (?)", pattern)

    async def unpin(self, pattern: str) -> bool:
        return await self._database.change("DELETE FROM pin WHERE pattern = ?", pattern) > 0


def _first(row: Any) -> str:
    return str(row[0])
