"""A lock of the catalog's file that could not be given back: SQLite holds it until nobody has the file open."""

import shutil
from pathlib import Path

import pytest

from tests.disk.injector import Call
from tests.storage.injected import child

MiB = 1 << 20
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc: faults are injected by a library of C")

# A line on its input is a number of bytes, which it writes; for 0 it looks after the catalog.
WRITES = """
import asyncio, json, sys
from pathlib import Path
from contextlib import suppress
from proxy.core.errors import OwnFault
from proxy.storage.catalog import SqliteCatalog

async def life(path):
    catalog = SqliteCatalog(path)
    while line := sys.stdin.readline():
        with suppress(OwnFault):
            await catalog.notes.note("text")
            await (catalog.notes.write_note("text", "x" * int(line)) if int(line) else catalog.recover())
        print(json.dumps({"trouble": catalog.health.trouble, "bytes": await catalog.size()}), flush=True)

asyncio.run(life(Path(sys.argv[1])))
"""


def test_the_log_begins_anew_all_the_same_and_nothing_is_put_aside(tmp_path: Path) -> None:
    with child(tmp_path, WRITES) as process:
        process.answers(1)
        for number in range(1, 13):
            process.injector.arm([Call.LOCK], "EIO", number, 1)
            process.answers(1)
            process.answers(1)
            assert process.injector.fired
            process.injector.disarm()
            for _ in range(10):
                process.answers(MiB)
            found = process.answers(0)
            assert found["trouble"] == {}
            assert found["bytes"] < 9 * MiB, f"lock {number}"
        assert not list(process.disk.glob("catalog.corrupt*"))
