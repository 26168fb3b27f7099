"""A start on a disk that refuses whatever would be made: the cache works as far as that goes, and is whole when the
disk is well."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from proxy.storage.disk import DiskStore
from proxy.storage.folder import FolderRefused, cache_folder
from tests.disk.faults import ERRORS
from tests.disk.injector import Call
from tests.storage.injected import Child, child
from tests.storage.kit import put

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc: faults are injected by a library of C")

MAKING = (Call.WRITE, Call.CREATE, Call.MKDIR, Call.RENAME, Call.OPEN, Call.TRUNCATE)

# For each line on its input, the path of a folder: opens a cache there, says what it cannot do, and waits for the next
# line, behind which the disk is well. Says then what is left of that, and what has become of content.
OPENS = """
import asyncio, json, sys
from pathlib import Path
from proxy.core.errors import OwnFault
from proxy.core.names import Digest
from proxy.storage.catalog import SqliteCatalog
from proxy.storage.disk import DiskStore
from proxy.storage.folder import cache_folder
from proxy.storage.health import StorageHealth
from tests.storage.kit import put, take

DIGEST = Digest.of(b"content")

def tell(**words):
    print(json.dumps(words), flush=True)

def attempt(work):
    try:
        return work()
    except OwnFault as fault:
        return type(fault).__name__

async def life(path):
    health = StorageHealth()
    with cache_folder(path) as held:
        store = DiskStore(path, health, claim=held.claim)
        catalog = SqliteCatalog(path, health, held.claim)
        kept = attempt(lambda: take(store.open(DIGEST)).decode())
        tell(trouble=health.trouble, kept=kept, put=attempt(lambda: put(store, b"content")))
        sys.stdin.readline()
        store.recover()
        await catalog.recover()
        tell(trouble=health.trouble, kept=take(store.open(put(store, b"content"))).decode())
        await catalog.close()
        store.close()

while path := sys.stdin.readline().strip():
    asyncio.run(life(Path(path)))
"""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    with child(tmp_path_factory.mktemp("sick"), OPENS) as started:
        yield started


def recovers(process: Child) -> dict[str, Any]:
    process.injector.disarm()
    return process.answers("")


@pytest.fixture(params=ERRORS)
def sick(process: Child, request: pytest.FixtureRequest) -> Iterator[Child]:
    process.injector.arm(MAKING, request.param)
    yield process
    assert process.injector.fired


@pytest.fixture
def path(process: Child, request: pytest.FixtureRequest) -> Path:
    return process.disk / str(request.node.name) / "cache"


def test_a_folder_that_cannot_be_made_is_made_when_it_can(sick: Child, path: Path) -> None:
    opened = sick.answers(path)
    assert sorted(opened["trouble"]) == ["catalog", "store"]
    assert opened["put"] in ("NoSpace", "StoreFailed")
    assert not path.exists()
    assert recovers(sick) == {"trouble": {}, "kept": "content"}
    assert (path / "format").read_text() == "entrepot 1\n"


def test_an_empty_folder_is_held_meanwhile_and_takes_what_it_needs_when_it_can(sick: Child, path: Path) -> None:
    path.mkdir(mode=0o700, parents=True)
    assert sorted(sick.answers(path)["trouble"]) == ["catalog", "store"]
    with pytest.raises(FolderRefused, match="in use by process"), cache_folder(path):
        pass
    assert recovers(sick) == {"trouble": {}, "kept": "content"}
    assert (path / "format").read_text() == "entrepot 1\n"


def test_what_is_held_is_served_meanwhile(sick: Child, path: Path) -> None:
    with cache_folder(path), closing(DiskStore(path)) as store:
        put(store, b"content")
    opened = sick.answers(path)
    assert opened["kept"] == "content"
    assert "catalog" in opened["trouble"]
    assert recovers(sick) == {"trouble": {}, "kept": "content"}


def test_what_is_held_where_no_lock_was_had_is_not_missing(process: Child, path: Path) -> None:
    """Nobody knows what another process does there meanwhile; a scan would forget all that it does not find."""
    with cache_folder(path), closing(DiskStore(path)) as store:
        put(store, b"content")
    process.injector.arm([Call.LOCK], "EIO")
    opened = process.answers(path)
    assert process.injector.fired
    assert (opened["kept"], opened["put"]) == ("StoreFailed", "StoreFailed")
    assert recovers(process) == {"trouble": {}, "kept": "content"}


@pytest.mark.parametrize("number", [1, 2])
def test_a_lock_that_fails_once_is_had_the_next_time(process: Child, path: Path, number: int) -> None:
    with cache_folder(path), closing(DiskStore(path)) as store:
        put(store, b"content")
    process.injector.arm([Call.LOCK], "EIO", number, 1)
    assert process.answers(path)["kept"] == "content"
    assert process.injector.fired
    assert recovers(process) == {"trouble": {}, "kept": "content"}
