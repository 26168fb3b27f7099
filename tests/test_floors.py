"""Dependencies point down, and each library has its address. No room is exempt: a new one needs its line here."""

import ast
import sys

import pytest

from tests.source import Room, rooms, within

FLOORS = {
    "core": {"core"},
    "tasks": {"core", "tasks"},
    "storage": {"core", "tasks", "storage"},
    "upstream": {"core", "tasks", "upstream"},
    "warm": {"core", "warm"},
    "cache": {"core", "tasks", "storage.contract", "upstream.contract", "warm", "cache"},
    "login": {"core", "tasks", "login"},
    "front": {"core", "tasks", "cache", "login", "logs", "front"},
    "bundles": {"core", "bundles"},
    "config": {"core", "bundles.signatures", "login.key_sets", "login.token_keys", "warm", "config"},
    "clients": {"core", "config", "clients"},
    "admin": {"core", "tasks", "cache", "login", "front", "config", "bundles", "logs", "registries", "admin"},
    "doctor": {
        "core",
        "tasks",
        "upstream",
        "config",
        "registries",
        "clients",
        "admin.client",
        "admin.report",
        "doctor",
    },
    "commands": {
        "core",
        "tasks",
        "config",
        "clients",
        "bundles",
        "warm",
        "upstream.ecr_faults",
        "admin",
        "doctor",
        "registries",
        "commands",
    },
}
"""Floor → what its rooms may import of ``proxy``."""

TOP = {
    "__init__": set[str](),
    "__main__": {"cli", "signals"},
    "amazon": {"core", "tasks", "config", "upstream"},
    "activation": {"config"},
    "app": {
        "activation",
        "core",
        "tasks",
        "cache.engine",
        "cache.inventory",
        "cache.permits",
        "front.access_log",
        "config",
        "admin",
        "clock",
        "composition",
        "listening",
        "logs",
        "registries",
        "rules",
        "service_manager",
        "signals",
    },
    "cli": {"config", "storage.folder", "commands", "app", "listening"},
    "clock": set[str](),
    "composition": {"core", "tasks", "storage", "cache", "login", "front"},
    "listening": {"core", "config", "admin.connections", "admin.serving", "activation", "composition"},
    "logs": set[str](),
    "registries": {"core", "tasks", "upstream", "config", "amazon"},
    "rules": {"core", "cache", "login", "front", "config", "admin.reload", "composition"},
    "service_manager": set[str](),
    "signals": set[str](),
}
"""The same for each file above the floors."""

LIBRARIES = {
    "aiobotocore": {"upstream.ecr_aws", "upstream.ecr_ways"},
    "aiofiles": {"config"},
    "aiohttp.web": {"admin", "app", "listening"},
    "bcrypt": {"login.passwords"},
    "botocore": {"upstream.ecr_faults"},
    "cronsim": {"warm.schedule"},
    "cryptography": {"bundles.signatures", "login.key_sets", "login.token_keys"},
    "httptools": {"front.requests"},
    "idna": {"config.places"},
    "jinja2": {"admin.page.site"},
    "jwt": {"login.key_sets", "login.token_keys"},
    "nodesemver": {"warm.versions"},
    "prometheus_client": {"admin.metrics"},
    "pydantic": {"config", "admin"},
    "pydantic_core": {"config.faults"},
    "rich": {"commands"},
    "sqlite3": {"storage"},
    "typer": {"cli", "commands"},
    "urllib3": {"upstream.tunnel"},
    "uvloop": {"cli"},
    "yaml": {"config.document", "clients.node_files", "commands.configuration", "warm.lists"},
    "zstandard": {"bundles.flows", "bundles.volumes"},
}
"""Library, or part of one, → where it lives. The longest name that fits counts."""

NOT_IN_CORE = {"asyncio", "os", "time", "socket", "threading", "pathlib", "random", "logging", "subprocess"}

ROOMS = rooms()


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_a_room_imports_only_from_its_own_floor_and_below(room: Room) -> None:
    allowed = (FLOORS | TOP).get(room.floor)
    assert allowed is not None, f"{room} is on no floor"
    for name in room.imports():
        if name.startswith("proxy.") and name != "proxy.__version__":
            assert within(name.removeprefix("proxy."), allowed), f"{room} imports {name}"


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_a_library_is_used_only_where_it_lives(room: Room) -> None:
    for name in room.imports():
        library = name.partition(".")[0]
        homes = [key for key in LIBRARIES if within(name, {key})]
        if homes:
            assert room.within(LIBRARIES[max(homes, key=len)]), f"{room} imports {name}"
        else:
            assert library in sys.stdlib_module_names or library == "proxy", f"{library} has no address"


DECIDING = [room for room in ROOMS if room.floor in {"core", "clients", "warm"} and room.name != "clients.disk"]


@pytest.mark.parametrize("room", DECIDING, ids=str)
def test_core_decides_and_does_not_act(room: Room) -> None:
    assert not {name for name in room.imports() if within(name, NOT_IN_CORE)}


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_an_import_says_where_things_come_from(room: Room) -> None:
    relative = [node.lineno for node in ast.walk(room.tree) if isinstance(node, ast.ImportFrom) and node.level]
    assert not relative, f"{room}: relative imports in the lines {relative}"


def test_no_two_floors_import_each_other() -> None:
    for floor, below in FLOORS.items():
        for other in {place.partition(".")[0] for place in below} - {floor}:
            back = {place.partition(".")[0] for place in FLOORS.get(other, set())}
            assert floor not in back, f"{floor} and {other}"
