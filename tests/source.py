"""The source of ``proxy/`` as tests read it: rooms, floors and what they import."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent / "proxy"


class Room(NamedTuple):
    """One file. ``name`` is dotted and without ``proxy``: ``cache.fills``, ``cli``."""

    name: str
    path: Path

    def __str__(self) -> str:
        return self.name

    @property
    def floor(self) -> str:
        """The folder; of a file at the top, the file."""
        return self.name.partition(".")[0]

    @property
    def tree(self) -> ast.Module:
        return _parsed(self.path)

    @property
    def lines(self) -> int:
        return self.path.read_text().count("\n")

    def within(self, places: set[str]) -> bool:
        """Whether it is one of the rooms, or on one of the floors."""
        return within(self.name, places)

    def imports(self) -> Iterator[str]:
        """Modules, and what is taken from them by name: ``asyncio``, ``aiohttp.web``, ``proxy.core.names.Digest``."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)


def within(name: str, places: set[str]) -> bool:
    """Whether a dotted name is one of the places, or below one."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def rooms() -> list[Room]:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found.append(Room(".".join(parts), path))
    return found


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())
