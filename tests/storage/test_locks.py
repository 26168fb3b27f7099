"""The catalog's file is locked once, against other processes: no transaction asks the volume for a lock, so that none
waits for one that the volume gives no more, or that was not given back."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from proxy.storage.catalog import SqliteCatalog
from proxy.storage.catalog_files import clear
from tests.disk.faults import ERRORS
from tests.disk.injector import Call
from tests.storage.injected import Child, child

MiB = 1 << 20
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc: faults are injected by a library of C")

# For each line on its input, the path of a folder: opens a catalog there and says what that cannot do. Each further
# line is a number of bytes, which it writes and reads; 0 has it copied, the letter x closed.
LIVES = """
import asyncio, json, sys
from pathlib import Path
from proxy.storage.catalog import SqliteCatalog

def tell(catalog, **words):
    print(json.dumps({"trouble": catalog.health.trouble, **words}), flush=True)

async def life(path):
    path.mkdir(exist_ok=True)
    catalog = SqliteCatalog(path)
    tell(catalog)
    while (line := sys.stdin.readline().strip()) != "x":
        if line == "0":
            await catalog.recover()
            await catalog.backup()
        else:
            await catalog.notes.write_note("text", "x" * int(line))
            assert len(await catalog.notes.note("text")) == int(line)
        tell(catalog, bytes=await catalog.size())
    await catalog.close()
    tell(catalog)

while path := sys.stdin.readline().strip():
    asyncio.run(life(Path(path)))
"""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    with child(tmp_path_factory.mktemp("locks"), LIVES) as started:
        yield started


@pytest.mark.parametrize("call", [Call.LOCK, Call.MAP], ids=lambda call: call.name)
def test_what_a_volume_gives_no_more_is_not_asked_for(process: Child, call: Call) -> None:
    process.answers(process.disk / call.name)
    process.injector.arm([call], "EIO")
    for _ in range(10):
        assert process.answers(MiB)["trouble"] == {}
    found = process.answers(0)
    assert found["trouble"] == {}
    assert found["bytes"] < 9 * MiB, "the log began anew"
    assert process.answers("x")["trouble"] == {}
    assert not process.injector.fired
    assert (process.disk / call.name / "catalog.backup").exists()
    process.injector.disarm()


@pytest.mark.parametrize("error", ERRORS)
def test_a_lock_that_is_not_had_at_the_start_is_had_later(process: Child, error: str) -> None:
    folder = process.disk / error
    process.answers(folder)
    process.answers(100)
    process.answers("x")
    is_written_later(process, folder, Call.LOCK, error)


@pytest.mark.parametrize("error", ERRORS)
def test_a_catalog_that_could_only_be_read_is_written_later(process: Child, error: str) -> None:
    """SQLite opens for reading what it may not open for writing."""
    folder = process.disk / f"reads-{error}"
    process.answers(folder)
    process.answers("x")
    is_written_later(process, folder, Call.OPEN, error)


def is_written_later(process: Child, folder: Path, call: Call, error: str) -> None:
    """The catalog in there, whose opening meets the error once."""
    process.injector.arm([call], error, 1, 1)
    assert "catalog" in process.answers(folder)["trouble"]
    assert process.injector.fired
    process.answers(200)
    assert process.answers(0)["trouble"] == {}
    process.answers("x")
    assert _note(folder) == 200


@pytest.mark.parametrize("is_new", [True, False])
async def test_no_other_process_opens_a_catalog_that_is_in_use(tmp_path: Path, is_new: bool) -> None:
    if not is_new:
        await SqliteCatalog(tmp_path).close()
    catalog = SqliteCatalog(tmp_path)
    await catalog.notes.write_note("text", "x")
    await catalog.backup()
    looks = "import sqlite3, sys; sqlite3.connect(sys.argv[1], 0.1).execute('SELECT * FROM note')"
    argv = [sys.executable, "-c", looks, str(tmp_path / "catalog")]
    looked = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert "database is locked" in looked.stderr
    await catalog.close()


def _note(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "catalog")) as connection:
        (length,) = connection.execute("SELECT length(text) FROM note WHERE name = 'text'").fetchone()
    clear(folder / "catalog")
    return int(length)
