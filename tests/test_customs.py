"""What a room may look like: its size, its names, its state, its words."""

import ast
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.source import Room, rooms

FILE_LINES = 400
FUNCTION_LINES = 60

WITHOUT_DOCSTRING = 190
"""Public names in ``proxy/`` that nobody explains, at most. It may only fall."""

MAKES_STATE = {
    *("list", "dict", "set", "bytearray", "Counter", "defaultdict", "deque", "OrderedDict"),
    *("WeakSet", "WeakKeyDictionary", "WeakValueDictionary", "LRUCache", "TTLCache", "Cache"),
    *("Lock", "RLock", "Event", "Condition", "Semaphore", "Queue", "ThreadPoolExecutor", "local", "count"),
}
"""What gives something that changes when it is called."""

REMEMBERS = {"cache", "lru_cache", "cached"}
"""Decorators that keep what a function gave."""

CHANGES = {
    *("append", "extend", "insert", "remove", "pop", "clear", "update", "setdefault", "add", "discard", "popitem"),
    *("appendleft", "popleft", "subtract"),
}

READS_JSON = {
    "core.foreign_json": "the door",
    "admin.client": "our own answers, for those who type",
    "cache.lifecycle": "our own notes",
    "cache.scrub": "our own notes",
    "cache.timekeeping": "our own notes",
    "warm.lists": "what the one who types gives, in a process of its own; at the door each megabyte takes a second",
}
"""Who may read JSON, and whose it is. What others wrote comes in by one door, which bounds it."""

ROOMS = rooms()

Function = ast.FunctionDef | ast.AsyncFunctionDef


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_a_room_stays_small(room: Room) -> None:
    assert room.lines <= FILE_LINES, "is it one room?"
    for node in ast.walk(room.tree):
        if isinstance(node, Function):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES, f"{room}:{node.lineno} {node.name} has {length} lines"


def test_a_class_name_means_one_class() -> None:
    homes = defaultdict(list)
    for room in ROOMS:
        for node in ast.walk(room.tree):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(room.name)
    assert not {name: found for name, found in homes.items() if len(found) > 1}


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_a_room_has_no_state_of_its_own(room: Room) -> None:
    """Constants are in capitals, and nobody changes them."""
    constants = set()
    for name, value in _module_values(room.tree):
        assert not _makes(value, MAKES_STATE), f"{room}: {name}"
        if isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp):
            assert name == name.upper() or name == "__all__", f"{room}: {name} is no constant"
            constants.add(name)
    changed = [f"{room}:{line} {name}" for name, line in _changed(room.tree) if name in constants]
    assert not changed
    assert not [node.names for node in ast.walk(room.tree) if isinstance(node, ast.Global)]
    for node in room.tree.body:
        if isinstance(node, Function):
            assert not [each for each in node.decorator_list if _names(each) & REMEMBERS], f"{room}: {node.name}"


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_json_of_others_comes_in_by_one_door(room: Room) -> None:
    reads = [
        node.lineno
        for node in ast.walk(room.tree)
        if isinstance(node, ast.Attribute)
        and node.attr in {"loads", "load", "JSONDecoder", "raw_decode"}
        and _names(node.value) <= {"json", "_DECODER"}
    ]
    assert not reads or room.name in READS_JSON, f"{room}: lines {reads}"
    assert not [name for name in room.imports() if name.startswith("json.")], f"{room} imports a part of json"


def test_public_names_are_explained() -> None:
    """All but functions of one statement, whose names and types say it all."""
    silent = [f"{room}: {name}" for room in ROOMS for name in _silent(room)]
    assert len(silent) <= WITHOUT_DOCSTRING, "\n".join(silent)


def _module_values(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in tree.body:
        if isinstance(node, ast.Assign):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
            yield node.target.id, node.value


def _makes(value: ast.expr, makers: set[str]) -> bool:
    return isinstance(value, ast.Call) and bool(_names(value.func) & makers)


def _names(node: ast.expr) -> set[str]:
    """``a.b(...)``, ``b(...)`` and ``b[...]`` are ``b``."""
    match node:
        case ast.Call(func=inner) | ast.Subscript(value=inner):
            return _names(inner)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return {name}
    return set()


def _changed(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=how)) if how in CHANGES:
                yield name, node.lineno
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                yield name, node.lineno
            case ast.AugAssign(target=ast.Name(id=name)):
                yield name, node.lineno


def _silent(room: Room) -> Iterator[str]:
    if room.path.read_text() and ast.get_docstring(room.tree) is None:
        yield "the room itself"
    yield from _silent_in(room.tree.body, "")


def _silent_in(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None and not _says_it_all(node):
            yield f"{prefix}{node.name}"
        if isinstance(node, ast.ClassDef):
            yield from _silent_in(node.body, f"{prefix}{node.name}.")


def _says_it_all(node: Function | ast.ClassDef) -> bool:
    """One statement; not the ``...`` of a contract, and not the fields of a class."""
    if isinstance(node, ast.ClassDef) or len(node.body) != 1:
        return False
    [only] = node.body
    return not (isinstance(only, ast.Expr) and isinstance(only.value, ast.Constant))
