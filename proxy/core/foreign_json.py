"""JSON that others wrote: bounded in bytes and depth, and refused where parsers differ on what it says.

RFC 8259 section 4 leaves the meaning of duplicate names open, and section 9 lets a parser bound size and depth.
"""

import json
from collections.abc import Callable
from typing import Any

DEEPEST = 64
"""Levels of arrays and objects. No manifest, token answer or policy comes near it."""

MakeObject = Callable[[list[tuple[str, Any]]], dict[str, Any]]
"""Makes an object of its members in their order, duplicates included."""


class JsonRefused(ValueError):
    """Not JSON that can be read in one way only. The sentence quotes nothing but single names."""


def unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises JsonRefused where a name stands twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonRefused("a key stands twice")
    return found


def parse_json(content: bytes | str, most: int | None, make_object: MakeObject = unique_members) -> Any:
    """The value. ``most`` bounds bytes, or characters of a ``str``; None where a bound was kept before.

    Raises JsonRefused for what is larger, not UTF-8, not JSON, or nested deeper than ``DEEPEST``, for a byte order
    mark, NaN and Infinity, and where ``make_object`` does.
    """
    if most is not None and len(content) > most:
        raise JsonRefused(f"larger than {most} bytes")
    try:
        text = content.decode() if isinstance(content, bytes) else content
        value = json.loads(text, object_pairs_hook=make_object, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise JsonRefused("not UTF-8") from None
    except RecursionError:
        raise JsonRefused("nested too deeply") from None
    except JsonRefused:
        raise
    except ValueError as cause:  # JSONDecodeError, and integers of more digits than Python reads
        raise JsonRefused(str(cause)[:200]) from None
    if _deeper(value, DEEPEST):
        raise JsonRefused("nested too deeply")
    return value


def parse_json_object(content: bytes | str, most: int | None) -> dict[str, Any]:
    """Raises JsonRefused for anything that is no object, and as ``parse_json`` does."""
    value = parse_json(content, most)
    if not isinstance(value, dict):
        raise JsonRefused("not a JSON object")
    return value


def _refuse_constant(name: str) -> None:
    raise JsonRefused(f"{name} is not JSON")


def _deeper(value: Any, levels: int) -> bool:
    """Looks at arrays and objects only, one level at a time."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        parts = (part for each in level for part in (each.values() if isinstance(each, dict) else each))
        level = [part for part in parts if isinstance(part, dict | list)]
        if not level:
            return False
    return bool(level)
