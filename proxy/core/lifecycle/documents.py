"""The JSON of lifecycle documents: names given twice are remembered, so that each is reported with its place."""

import json
from collections import Counter

from proxy.core.foreign_json import parse_json

_SHOWN = 64


class Members(dict[str, object]):
    """A JSON object that remembers which names were given more than once."""

    __slots__ = ("repeated",)

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.repeated: list[str] = []
        if len(pairs) > len(self):
            counts = Counter(name for name, _ in pairs)
            self.repeated = [name for name, count in counts.items() if count > 1]


def read_json(text: str) -> object:
    """The document; objects are ``Members``. Raises ValueError with a sentence that names the place where known."""
    document: object = parse_json(text, None, Members)
    return document


def shown(value: object) -> str:
    """The value as JSON, cut short, so that a message stays a line."""
    try:
        text = json.dumps(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python prints; nesting
        return "..."
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def plain(name: str) -> str:
    """A name from the document as one short word of printable ASCII."""
    return shown(name)[1:-1]


def type_name(value: object) -> str:
    """The JSON Schema name of the value's type, as ECR's messages give it."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
