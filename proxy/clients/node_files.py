"""A node's files as they were found, and the forms that they are in."""

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from proxy.clients.chains import Chain, FilePlace, Patience, Question, Trouble
from proxy.core.foreign_json import SMALL, parse_json


class Unread(Exception):
    """A file that is there and cannot be used."""

    def __init__(self, place: FilePlace, why: str) -> None:
        super().__init__(f"{place}: {why}")
        self.place = place
        self.why = why

    def trouble(self, fix: str) -> Trouble:
        return Trouble(self.place, self.why, fix)

    def chains(self, client: str, question: Question, patience: Patience, fix: str) -> Iterator[Chain]:
        """Of a client that pulls nothing at all with such a file."""
        for registry in question.registries:
            yield Chain(client, registry.name, [], self.place, patience, [self.trouble(fix)])


class NodeFiles(NamedTuple):
    """Paths are below the root, without a slash before them. ``unreadable`` says why, by path."""

    texts: Mapping[str, str]
    folders: frozenset[str] = frozenset()
    unreadable: Mapping[str, str] = {}

    def has(self, path: str) -> bool:
        return path in self.texts or path in self.unreadable

    def within(self, folder: str, ending: str) -> list[str]:
        """The files of a folder, by name."""
        found = {*self.texts, *self.unreadable}
        return sorted(path for path in found if path.rpartition("/")[0] == folder and path.endswith(ending))

    def toml(self, path: str) -> Mapping[str, Any]:
        """Empty where the file is not there. Raises Unread."""
        try:
            return tomllib.loads(self._text(path))
        except (tomllib.TOMLDecodeError, RecursionError) as cause:
            raise Unread(FilePlace(path), f"is no TOML: {cause}") from None

    def json(self, path: str) -> Mapping[str, Any]:
        """Raises Unread."""
        try:
            return table(parse_json(self._text(path) or "{}", SMALL))
        except (ValueError, RecursionError) as cause:
            raise Unread(FilePlace(path), f"is no JSON: {cause}") from None

    def yaml(self, path: str) -> Mapping[str, Any]:
        """Raises Unread."""
        try:
            return table(yaml.safe_load(self._text(path)))
        except (yaml.YAMLError, ValueError, RecursionError) as cause:
            raise Unread(FilePlace(path), f"is no YAML: {' '.join(str(cause).split())}") from None

    def place(self, path: str, *written: str) -> FilePlace:
        """The line that has the first of what is written, looked for behind the one before."""
        number = 0
        lines = self.texts.get(path, "").splitlines()
        for text in written:
            following = (n for n, line in enumerate(lines[max(0, number - 1) :], max(1, number)) if text in line)
            number = next((n for n in following if not lines[n - 1].lstrip().startswith("#")), 0)
            if not number:
                return FilePlace(path)
        return FilePlace(path, number or None)

    def _text(self, path: str) -> str:
        if path in self.unreadable:
            raise Unread(FilePlace(path), self.unreadable[path])
        return self.texts.get(path, "")


def table(found: object) -> Mapping[str, Any]:
    """Itself, or an empty one for anything that is none."""
    return found if isinstance(found, Mapping) else {}


def tables(found: object) -> Iterator[Mapping[str, Any]]:
    return (each for each in found if isinstance(each, Mapping)) if isinstance(found, list) else iter(())


def strings(found: object) -> list[str]:
    """Of a list, or of one string by itself."""
    if isinstance(found, str):
        return [found]
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
