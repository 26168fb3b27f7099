"""What is never let go: by the configuration, and by ``entrepot pin``."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from proxy.core.graph import Node, Place
from proxy.core.names import Digest, Repository, Tag
from proxy.core.patterns import ContentPattern, fits
from proxy.storage.contract import CatalogNotes


class Pin(NamedTuple):
    pattern: str
    origin: str  # ``configuration`` or ``command``


class Pins:
    """Asked without waiting: the catalog's pins are kept in memory too."""

    def __init__(self, notes: CatalogNotes, configured: Sequence[str]) -> None:
        self._notes = notes
        self._configured = tuple(configured)
        self._added: list[str] = []
        self._patterns: list[ContentPattern] = []
        self._parts: frozenset[str] = frozenset()

    async def load(self) -> None:
        """Raises StoreFailed."""
        self._added = await self._notes.pins()
        self._read()

    def configure(self, patterns: Sequence[str]) -> None:
        """Those of the configuration, from now on."""
        self._configured = tuple(patterns)
        self._read()

    async def add(self, *patterns: str) -> None:
        """Raises StoreFailed."""
        new = [pattern for pattern in patterns if pattern not in self._added]
        for pattern in new:
            await self._notes.pin(pattern)
        if new:
            await self.load()

    async def remove(self, pattern: str) -> bool:
        """False where it was not pinned by command."""
        known = await self._notes.unpin(pattern)
        await self.load()
        return known

    def list(self) -> list[Pin]:
        return [
            *(Pin(pattern, "configuration") for pattern in sorted(self._configured)),
            *(Pin(pattern, "command") for pattern in self._added),
        ]

    def keep(self, node: Node, place: Place) -> bool:
        name = str(place.repository)
        return any(pattern.covers(name, place.tags, node.digest) for pattern in self._patterns)

    def keep_tag(self, repository: Repository, tag: Tag, digest: Digest) -> bool:
        """Whether the tag goes on to be served here when upstream has deleted it."""
        return any(pattern.covers(str(repository), (tag,), digest) for pattern in self._patterns)

    def concern(self, repository: Repository) -> bool:
        """Whether something of the repository may go on to be served here when upstream has deleted it."""
        return any(fits(pattern.repository, str(repository)) for pattern in self._patterns)

    def covering(self, repository: str, tags: Collection[str], digest: str) -> str | None:
        """The pattern of the first pin that holds on to this content, None where none does."""
        found = (each for each in self._patterns if each.covers(repository, tags, digest) or each.digest == digest)
        return next(map(str, found), None)

    def none(self) -> "Pins":
        """Pins that hold nothing: for an operator who means pinned content too."""
        return Pins(self._notes, ())

    def names_part(self, digest: Digest) -> bool:
        """A digest that is pinned by itself stays, so no image may go that it is the last to need it."""
        return digest in self._parts

    def _read(self) -> None:
        written = [*self._configured, *self._added]
        self._patterns = [ContentPattern.parse(pattern) for pattern in dict.fromkeys(written)]
        self._parts = frozenset(pattern.digest for pattern in self._patterns if pattern.digest is not None)
