"""A YAML file as plain values, each with its line. Small and flat on purpose: no tags, bounded depth.

Anchors, aliases and merge keys (``<<``) work. What an alias repeats counts each time, so that a few lines that stand
for millions of values are refused.
"""

from typing import Any, NamedTuple

import yaml

from proxy.config.faults import ConfigFault, fault_at
from proxy.config.section import KeyPath

SIZE_LIMIT = 1024 * 1024
_DEPTH_LIMIT = 32
_NODE_LIMIT = 50_000
_TOO_DEEP = f"nested deeper than {_DEPTH_LIMIT} levels"
_TOO_MANY = f"more than {_NODE_LIMIT} keys and values, aliases counted each time"
_MERGE = "tag:yaml.org,2002:merge"
_DROPPED = object()
_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq")
)


class Document(NamedTuple):
    """What could be read of a file, where each part of it stands, and what is wrong with the rest."""

    tree: dict[str, Any]
    lines: dict[KeyPath, int]
    faults: list[ConfigFault]


class _Loader(yaml.SafeLoader):
    """Composes nodes, and stops beyond the depth and number that any configuration needs."""

    _depth = 0
    _nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # the stubs leave it untyped
        if self._depth >= _DEPTH_LIMIT:
            raise yaml.MarkedYAMLError(problem=_TOO_DEEP, problem_mark=mark)
        self._nodes += 1
        if self._nodes > _NODE_LIMIT:
            raise yaml.MarkedYAMLError(problem=_TOO_MANY, problem_mark=mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def parse_document(content: bytes) -> Document:
    """Never raises: what is wrong is in ``faults``, and ``tree`` holds what could be read."""
    lines: dict[KeyPath, int] = {}
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _unreadable(content[: error.start].count(b"\n") + 1, "the file is not UTF-8")
    try:
        root = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return _unreadable(mark.line + 1 if mark else 1, f"not YAML that can be used: {error.problem}")
    except yaml.reader.ReaderError as error:
        return _unreadable(text[: error.position].count("\n") + 1, "holds a character that YAML does not allow")
    if root is None:
        return _unreadable(1, "the file is empty")
    builder = _Builder(lines)
    try:
        tree = builder.build(root, ())
    except _Overgrown as overgrown:
        return _unreadable(overgrown.line, f"not YAML that can be used: {overgrown}")
    if not isinstance(tree, dict):
        return _unreadable(root.start_mark.line + 1, "the file must be a mapping of keys and values")
    return Document(tree, lines, builder.faults)


def parse_scalar(text: str) -> object:
    """A value as YAML reads an unquoted word. Raises ValueError where it is no value of its own kind."""
    tag = yaml.SafeLoader("").resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]  # as above
    return yaml.constructor.SafeConstructor().construct_object(yaml.ScalarNode(tag, text))


def _unreadable(line: int, sentence: str) -> Document:
    return Document({}, {}, [ConfigFault("", line, sentence)])


class _Overgrown(Exception):
    """Aliases make more of the file than the limits allow."""

    def __init__(self, line: int, sentence: str) -> None:
        self.line = line
        super().__init__(sentence)


class _Builder:
    def __init__(self, lines: dict[KeyPath, int]) -> None:
        self.faults: list[ConfigFault] = []
        self._lines = lines
        self._constructor = yaml.constructor.SafeConstructor()
        self._nodes = 0
        self._merging: list[yaml.Node] = []  # each brought in by the one before it

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        """Raises _Overgrown."""
        self._count(node, path)
        self._lines.setdefault(path, node.start_mark.line + 1)
        if node.tag not in _TAGS:
            return self._refuse(path, "YAML tags are not supported")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            values = (self.build(child, (*path, index)) for index, child in enumerate(node.value))
            return [value for value in values if value is not _DROPPED]
        return self._scalar(node, path)

    def _count(self, node: yaml.Node, path: KeyPath) -> None:
        self._nodes += 1
        if self._nodes > _NODE_LIMIT:
            raise _Overgrown(node.start_mark.line + 1, _TOO_MANY)
        if len(path) > _DEPTH_LIMIT:
            raise _Overgrown(node.start_mark.line + 1, f"{_TOO_DEEP}; does an alias stand inside its own anchor?")

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        """What ``<<`` brings comes last, and gives way to what is written here."""
        mapping: dict[str, Any] = {}
        merged = [value for key, value in node.value if key.tag == _MERGE]
        self._fill(mapping, [pair for pair in node.value if pair[0].tag != _MERGE], path)
        for value in merged:
            self._merge(mapping, value, path)
        return mapping

    def _fill(self, mapping: dict[str, Any], pairs: list[tuple[yaml.Node, yaml.Node]], path: KeyPath) -> None:
        for key_node, value_node in pairs:
            line = key_node.start_mark.line + 1
            key = self._scalar(key_node, path) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                self.faults.append(fault_at(path, "a key here is not text: put quotes round it", {path: line}))
                continue
            here = (*path, key)
            if here in self._lines:
                sentence = f"is already given in line {self._lines[here]}"
                self.faults.append(fault_at(here, sentence, {here: line}))
                continue
            self._lines[here] = line
            value = self.build(value_node, here)
            if value is not _DROPPED:
                mapping[key] = value

    def _merge(self, mapping: dict[str, Any], node: yaml.Node, path: KeyPath) -> None:
        """YAML 1.1, merge key: one mapping, or a list of them of which the earlier ones win."""
        self._count(node, path)
        if isinstance(node, yaml.SequenceNode):
            for each in node.value:
                self._merge_one(mapping, each, path)
        else:
            self._merge_one(mapping, node, path)

    def _merge_one(self, mapping: dict[str, Any], node: yaml.Node, path: KeyPath) -> None:
        if not isinstance(node, yaml.MappingNode):
            line = {path: node.start_mark.line + 1}
            self.faults.append(fault_at(path, "<< takes in a mapping, such as *an-anchor, or a list of them", line))
            return
        self._count(node, path)
        if node in self._merging:
            raise _Overgrown(node.start_mark.line + 1, "<< takes in the mapping that it stands in")
        self._merging.append(node)
        own = [pair for pair in node.value if pair[0].tag != _MERGE and not self._is_given(pair[0], path)]
        self._fill(mapping, own, path)
        for key, value in node.value:
            if key.tag == _MERGE:
                self._merge(mapping, value, path)
        self._merging.pop()

    def _is_given(self, key: yaml.Node, path: KeyPath) -> bool:
        return isinstance(key, yaml.ScalarNode) and (*path, key.value) in self._lines

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        if node.tag not in _TAGS:
            return _DROPPED
        try:
            return self._constructor.construct_object(node)
        except (ValueError, OverflowError, yaml.YAMLError):
            return self._refuse(path, "cannot be read as a value: put quotes round it")

    def _refuse(self, path: KeyPath, sentence: str) -> object:
        self.faults.append(fault_at(path, sentence, self._lines))
        return _DROPPED
