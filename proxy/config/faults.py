"""What is wrong with a configuration: each fault by key, line and a sentence that says what to do."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from proxy.config.section import KeyPath, Misfit

Origins = Mapping[KeyPath, int | str]
"""Where a value comes from: a line of the file, or an environment variable."""

_SENTENCES = {
    "missing": "is needed",
    "string_type": "must be text: put quotes round it",
    "string_too_short": "must not be empty",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "model_type": "must be a mapping of keys and values",
    "dict_type": "must be a mapping of keys and values",
    "tuple_type": "must be a list",
    "too_short": "must not be empty: name at least one, or leave the key out",
    "union_tag_not_found": "is needed: anonymous, basic, dockerconfig, ecr or ecr-public",
    "union_tag_invalid": "must be anonymous, basic, dockerconfig, ecr or ecr-public",
    "model_attributes_type": "must be a mapping of keys and values",
}
_PASSWORD = "is never written here: put it in a file and name that file as password_file"


class ConfigFault(NamedTuple):
    """One thing that is wrong; ``str()`` is a line without the file and its line number."""

    key: str  # as in tags.ttl or lifecycle[0].policy; empty for the file as a whole
    line: int | None  # of the file, from 1; None where the value comes from elsewhere
    sentence: str
    variable: str | None = None  # the environment variable that the value comes from

    def __str__(self) -> str:
        return ": ".join(part for part in (self.variable, self.key, self.sentence) if part)


class ConfigInvalid(Exception):
    """Every fault of a configuration, in the order of lines. ``str()`` has a line for each."""

    def __init__(self, source: str, faults: Iterable[ConfigFault]) -> None:
        self.source = source
        self.faults = sorted(faults, key=lambda fault: (fault.line or 0, fault.key, fault.sentence))
        lines = (f"{source}:{fault.line}: {fault}" if fault.line else f"{source}: {fault}" for fault in self.faults)
        super().__init__("\n".join(lines))


def written_key(path: KeyPath) -> str:
    """The path as people write it, printable whatever the file holds."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    cut = text if len(text) <= 160 else text[:157] + "..."
    return cut if cut.isascii() and cut.isprintable() else ascii(cut)[1:-1]


def fault_at(path: KeyPath, sentence: str, origins: Origins) -> ConfigFault:
    """A fault with the origin of the value, or of the nearest mapping round it."""
    origin = next((origins[path[:end]] for end in range(len(path), -1, -1) if path[:end] in origins), None)
    if isinstance(origin, str):
        return ConfigFault(written_key(path), None, sentence, origin)
    return ConfigFault(written_key(path), origin, sentence)


def faults_of(error: ValidationError, tree: object, origins: Origins, known: Sequence[str]) -> Iterator[ConfigFault]:
    """Pydantic's errors as faults. ``known`` are the keys to suggest for an unknown one."""
    for details in error.errors(include_url=False, include_input=False):
        path = _path_of(details, tree)
        cause = details.get("ctx", {}).get("error")
        if isinstance(cause, Misfit):
            for inner, sentence in cause.parts:
                yield fault_at(path + inner, sentence, origins)
        else:
            yield fault_at(path, _sentence(details, path, known), origins)


def _path_of(details: ErrorDetails, tree: object) -> KeyPath:
    """The location without the parts that pydantic adds and that are no keys, such as the kind of a union."""
    path: list[str | int] = []
    node: Any = tree
    for part in details["loc"]:
        inside = part in node if isinstance(node, dict) else isinstance(node, list) and isinstance(part, int)
        if inside:
            node = node[part]
            path.append(part)
    if details["type"] == "missing":
        path.append(details["loc"][-1])
    if details["type"].startswith("union_tag"):
        path.append("type")
    return tuple(path)


def _sentence(details: ErrorDetails, path: KeyPath, known: Sequence[str]) -> str:
    context, kind = details.get("ctx", {}), details["type"]
    if kind == "extra_forbidden":
        if path[-1] == "password":
            return _PASSWORD
        near = difflib.get_close_matches(str(path[-1]), known, n=1)
        return f"is not a key that is known here{f'; is {near[0]} meant?' if near else ''}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "greater_than_equal":
        return f"must be at least {context['ge']}"
    if kind == "less_than_equal":
        return f"must be at most {context['le']}"
    return _SENTENCES.get(kind, details["msg"])
