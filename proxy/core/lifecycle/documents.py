"""The JSON of lifecycle documents: names given twice are remembered, so that each is reported with its place."""

import json

from proxy.core.foreign_json import Bounds, parse_json

_SHOWN = 64
_BOUNDS = Bounds(1 << 30, 10**8)  # an operator may have a long list of images; a policy is bounded before


class Members(dict[str, object]):
    """A JSON object that remembers which names were given more than once."""

    __slots__ = ("repeated",)

    def __init__(self) -> None:
        super().__init__()
        self.repeated: list[str] = []

    def repeat(self, name: str) -> None:
        """It was given once more."""
        if name not in self.repeated:
            self.repeated.append(name)


def read_json(text: str) -> object:
    """The document; objects are ``Members``. Raises ValueError with a sentence that names the place where known."""
    document: object = parse_json(text, _BOUNDS, Members, Members.repeat)
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
