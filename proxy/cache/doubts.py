"""What was last proven too long ago, and waits to be proven again."""

import asyncio
from dataclasses import dataclass

from proxy.core.names import Digest
from proxy.core.tables import BoundedTable, Tables
from proxy.storage.contract import Content

_MOST = 10_000  # contents that wait
_LIMIT = 4 << 20  # bytes


@dataclass(frozen=True, slots=True)
class VerifyRules:
    """How recently content must have been proven when it is served."""

    max_age: float | None = None  # seconds; None for however long ago
    on_read: bool = False  # prove before each answer


ANY_AGE = VerifyRules()


class Doubts:
    """In the order in which they were met, each once; what is beyond the most is met again by its next reader.
    ``limit`` is the age in seconds from which on a proof is too old: one comparison on each hit."""

    def __init__(self, rules: VerifyRules, tables: Tables) -> None:
        self.before_the_answer = rules.on_read
        self.limit = -1.0 if rules.on_read else float("inf") if rules.max_age is None else rules.max_age
        self._waiting: dict[Digest, Content] = {}
        # For homes that cannot write it down.
        self._proven: BoundedTable[Digest, float] = tables.table("proven", _LIMIT)
        self._some = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, content: Content, now: float) -> None:
        """It was just served, and its home says that its proof is too old."""
        if now - self._proven.get(content.digest, float("-inf")) <= self.limit or len(self._waiting) >= _MOST:
            return
        self._waiting.setdefault(content.digest, content)
        self._some.set()

    def settle(self, digest: Digest, now: float) -> None:
        """It was proven."""
        self._proven.put(digest, now)
        self._waiting.pop(digest, None)

    async def next(self) -> Content:
        """The one that waits longest, which waits no more."""
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        return self._waiting.pop(next(iter(self._waiting)))
