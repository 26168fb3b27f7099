"""Scenes that go wrong, with what goes wrong in them. A line goes when its scene goes right."""

from typing import NamedTuple


class Known(NamedTuple):
    scene: str  # file::function
    where: tuple[str, ...]  # patterns of its parameters
    reason: str


_LISTS = "tags are not listed from what is held"

_GONE = "test_gone.py::test_"

WRONG: tuple[Known, ...] = (Known(f"{_GONE}tags_are_listed_from_what_is_held", ("*",), _LISTS),)
