"""Dependencies point down, and each library has its address."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "proxy"

MAY_IMPORT = {
    "core": {"core"},
    "tasks": {"core", "tasks"},
    "storage": {"core", "tasks", "storage"},
    "upstream": {"core", "tasks", "upstream"},
    "cache": {"core", "tasks", "storage.contract", "upstream.contract", "cache"},
    "front": {"core", "tasks", "cache", "front"},
    "logs": {"logs"},
    "signals": {"signals"},
    "admin": {"core", "tasks", "cache", "front", "config", "registries", "logs", "admin"},
    "doctor": {"core", "tasks", "upstream", "config", "registries", "admin", "doctor"},
    "config": {"core", "config"},
}

AT_HOME = {
    "uvloop": {"cli"},
    "typer": {"cli", "commands"},
    "rich": {"cli", "commands"},
    "pydantic": {"config", "admin"},
    "yaml": {"config", "commands"},
    "prometheus_client": {"admin"},
    "sqlite3": {"storage"},
    "cachetools": {"cache", "upstream"},
    "aiobotocore": {"upstream"},
    "botocore": {"upstream"},
}

CORE_MAY_NOT = {"asyncio", "os", "time", "socket", "threading", "pathlib", "random", "aiohttp", "logging"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where things come from"
            assert node.module is not None
            yield node.module
            if node.module == "proxy":
                yield from (f"proxy.{alias.name}" for alias in node.names)


def rooms() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def floor(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


@pytest.mark.parametrize("path", rooms(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_from_its_own_floor_and_below(path: Path) -> None:
    allowed = MAY_IMPORT.get(floor(path))
    if allowed is None:  # the top of the house may see everything
        return
    for name in imports(path):
        if name.startswith("proxy."):
            below = name.removeprefix("proxy.")
            assert below == "__version__" or any(below == room or below.startswith(f"{room}.") for room in allowed), (
                f"{path.relative_to(ROOT)} imports {name}"
            )


@pytest.mark.parametrize("path", rooms(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_library_is_used_only_where_it_lives(path: Path) -> None:
    for name in imports(path):
        library = name.partition(".")[0]
        if library in AT_HOME:
            assert floor(path) in AT_HOME[library], f"{path.relative_to(ROOT)} imports {name}"
        if floor(path) == "core":
            assert library not in CORE_MAY_NOT, f"core decides and does not act: {path.name} imports {name}"


@pytest.mark.parametrize("path", rooms(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_stays_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400, "is it one room?"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 60, f"{path.name}:{node.lineno} {node.name} has {length} lines"
