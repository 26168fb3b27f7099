"""Scenes that go wrong, with what goes wrong in them. A line goes when its scene goes right."""

from typing import NamedTuple


class Known(NamedTuple):
    scene: str  # file::function
    where: tuple[str, ...]  # patterns of its parameters
    reason: str


WRONG: tuple[Known, ...] = ()
