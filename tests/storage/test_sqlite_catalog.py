"""The catalog's file: lost, corrupt, copied."""

import asyncio
import os
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from proxy.core.errors import NoSpace, StoreFailed
from proxy.core.names import Digest
from proxy.storage.catalog import SqliteCatalog
from proxy.storage.catalog_files import CORRUPT_KEPT
from proxy.storage.contract import FIRST_CURSOR, EvictionClass, Usage
from proxy.storage.recoveries import Recovery
from proxy.storage.recovery import copy_catalog
from tests.storage.kit import NGINX, add, blob, usage


async def fill(folder: Path, first: int, last: int) -> None:
    catalog = SqliteCatalog(folder)
    for number in range(first, last):
        await add(catalog, blob(str(number)), NGINX)
    await catalog.close()


async def copy(folder: Path) -> None:
    catalog = SqliteCatalog(folder)
    await catalog.backup()
    await catalog.close()


async def state(folder: Path) -> tuple[Recovery, int]:
    catalog = SqliteCatalog(folder)
    try:
        entries = (await usage(catalog)).entries
        assert len(await catalog.contents.between("", "t")) == entries
        return catalog.recovered, entries
    finally:
        await catalog.close()


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(9000))


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def a_table_short(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE tag")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_symlink(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


DAMAGES = [garbage, truncated, emptied, a_table_short, a_folder, a_symlink, Path.unlink]


async def test_what_was_written_is_there_at_the_next_start(tmp_path: Path) -> None:
    assert await state(tmp_path) == (Recovery.NEW, 0)
    await fill(tmp_path, 0, 5)
    assert await state(tmp_path) == (Recovery.INTACT, 5)


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_catalog_comes_back_from_its_copy(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    await fill(tmp_path, 0, 300)
    await copy(tmp_path)
    await fill(tmp_path, 300, 310)
    damage(tmp_path / "catalog")
    assert await state(tmp_path) == (Recovery.FROM_COPY, 300)
    assert await state(tmp_path) == (Recovery.INTACT, 300)


@pytest.mark.parametrize("damage", DAMAGES)
async def test_without_a_sound_copy_it_begins_empty(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    (tmp_path / "blobs" / "sha256" / "ab").mkdir(parents=True)
    (tmp_path / "blobs" / "sha256" / "ab" / "abc").touch()
    await fill(tmp_path, 0, 300)
    await copy(tmp_path)
    damage(tmp_path / "catalog")
    if damage is a_symlink:
        (tmp_path / "catalog.backup").unlink()
    else:
        damage(tmp_path / "catalog.backup")
    assert await state(tmp_path) == (Recovery.EMPTY, 0)
    assert await state(tmp_path) == (Recovery.INTACT, 0)


async def test_a_garbage_log_costs_the_log_and_not_the_catalog(tmp_path: Path) -> None:
    await fill(tmp_path, 0, 50)
    (tmp_path / "catalog-wal").write_bytes(os.urandom(40_000))
    assert await state(tmp_path) == (Recovery.INTACT, 50)


async def test_a_log_left_behind_is_not_replayed_into_the_copy(tmp_path: Path) -> None:
    await fill(tmp_path, 0, 50)
    await copy(tmp_path)
    catalog = SqliteCatalog(tmp_path)
    await add(catalog, blob("new"), NGINX)
    log = (tmp_path / "catalog-wal").read_bytes()
    await catalog.close()
    assert log, "the write is still in the log"
    (tmp_path / "catalog").unlink()
    (tmp_path / "catalog-wal").write_bytes(log)
    assert await state(tmp_path) == (Recovery.FROM_COPY, 50)
    assert [path.read_bytes() for path in tmp_path.glob("catalog.corrupt-*-wal")] == [log]


async def test_corruption_met_in_a_call_is_mended_and_the_call_answered(tmp_path: Path) -> None:
    await fill(tmp_path, 0, 2000)
    overwrite(tmp_path / "catalog", "orphan_by_use")
    catalog = SqliteCatalog(tmp_path)
    recovered = [catalog.recovered]
    assert len(await catalog.contents.idle(EvictionClass.ORPHANS, FIRST_CURSOR, 3000)) == 2000
    recovered.append(catalog.recovered)
    assert recovered == [Recovery.INTACT, Recovery.MENDED], "nothing at the opening reads that page"
    assert catalog.health.trouble == {}
    await catalog.close()
    assert await state(tmp_path) == (Recovery.INTACT, 2000)


async def test_where_the_rows_themselves_cannot_be_read_the_copy_takes_their_place(tmp_path: Path) -> None:
    await fill(tmp_path, 0, 2000)
    await copy(tmp_path)
    await fill(tmp_path, 2000, 2010)
    overwrite(tmp_path / "catalog", "content")
    catalog = SqliteCatalog(tmp_path)
    assert len(await catalog.contents.between("", "t")) == 2000
    assert catalog.recovered is Recovery.FROM_COPY
    await catalog.close()


def overwrite(path: Path, name: str) -> None:
    """The page where that table or index begins is full of rubbish."""
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * page_size)
        file.write(b"\xff" * page_size)


async def test_a_copy_of_a_corrupt_catalog_never_replaces_a_sound_one(tmp_path: Path) -> None:
    await fill(tmp_path, 0, 2000)
    await copy(tmp_path)
    sound = (tmp_path / "catalog.backup").read_bytes()
    with (tmp_path / "catalog").open("r+b") as file:
        file.seek(-4096, os.SEEK_END)
        file.write(b"\xff" * 4096)
    catalog = SqliteCatalog(tmp_path)
    with pytest.raises(StoreFailed):
        await catalog.backup()
    await catalog.close()
    assert (tmp_path / "catalog.backup").read_bytes() == sound


async def test_a_bounded_number_of_corrupt_ones_is_kept(tmp_path: Path) -> None:
    for number in range(CORRUPT_KEPT + 2):
        (tmp_path / "catalog").write_bytes(b"%d" % number * 3000)
        await state(tmp_path)
    kept = sorted(path.name for path in tmp_path.glob("catalog.corrupt-*"))
    assert kept == [f"catalog.corrupt-{number}" for number in (3, 4, 5)]


async def test_a_batch_that_fails_leaves_no_part_of_itself(tmp_path: Path) -> None:
    catalog = SqliteCatalog(tmp_path)
    with pytest.raises(StoreFailed):
        await catalog.contents.add(blob("a"), [object()])  # type: ignore[list-item]
    assert await usage(catalog) == Usage(0, 0)
    await add(catalog, blob("b"), NGINX)
    assert await usage(catalog) == Usage(1, 1)
    await catalog.close()


async def test_a_closed_catalog_says_so(tmp_path: Path) -> None:
    catalog = SqliteCatalog(tmp_path)
    await catalog.close()
    await catalog.close()
    with pytest.raises(StoreFailed, match="closed"):
        await catalog.contents.get(Digest.of(b"x"))


async def test_a_catalog_whose_file_has_vanished_is_written_again_with_everything(tmp_path: Path) -> None:
    await fill(tmp_path, 0, 5)
    catalog = SqliteCatalog(tmp_path)
    for path in tmp_path.glob("catalog*"):
        path.unlink()
    await add(catalog, blob("late"), NGINX)
    await catalog.backup()
    await add(catalog, blob("later"), NGINX)
    await catalog.close()
    assert await state(tmp_path) == (Recovery.INTACT, 7)


async def test_a_catalog_of_a_later_version_is_kept_aside_and_read_as_far_as_possible(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(tmp_path, 0, 5)
    with closing(sqlite3.connect(tmp_path / "catalog")) as connection:
        connection.execute("ALTER TABLE content ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'")
        connection.execute("PRAGMA user_version = 77")
    before = (tmp_path / "catalog").read_bytes()
    assert await state(tmp_path) == (Recovery.FOREIGN, 5)
    assert (tmp_path / "catalog.corrupt-1").read_bytes() == before
    assert "states version 77" in caplog.text
    assert await state(tmp_path) == (Recovery.INTACT, 5)


async def test_a_catalog_of_a_later_version_that_nobody_can_read_is_kept_aside_all_the_same(tmp_path: Path) -> None:
    await fill(tmp_path, 0, 5)
    with closing(sqlite3.connect(tmp_path / "catalog")) as connection:
        connection.execute("DROP TABLE content")
        connection.execute("PRAGMA user_version = 77")
    before = (tmp_path / "catalog").read_bytes()
    assert await state(tmp_path) == (Recovery.EMPTY, 0)
    assert (tmp_path / "catalog.corrupt-1").read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a tmpfs")
async def test_on_a_read_only_disk_it_lives_in_memory_and_is_written_down_when_the_disk_takes_it(
    tmp_path: Path,
) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(tmp_path)], check=True)
    try:
        await fill(tmp_path, 0, 5)
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
        catalog = SqliteCatalog(tmp_path)
        assert catalog.recovered is Recovery.INTACT
        assert list(catalog.health.trouble) == ["catalog"]
        await add(catalog, blob("new"), NGINX)
        with pytest.raises(StoreFailed):
            await catalog.recover()
        assert (await usage(catalog)).entries == 6, "it goes on"
        assert list(catalog.health.trouble) == ["catalog"]
        subprocess.run(["mount", "-o", "remount,rw", str(tmp_path)], check=True)
        await catalog.recover()
        assert catalog.health.trouble == {}
        await add(catalog, blob("newer"), NGINX)
        await catalog.close()
        assert await state(tmp_path) == (Recovery.INTACT, 7)
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


async def test_a_catalog_that_vanished_under_the_running_process_is_written_again(tmp_path: Path) -> None:
    catalog = SqliteCatalog(tmp_path)
    await add(catalog, blob("old"), NGINX)
    for path in tmp_path.glob("catalog*"):
        path.unlink()
    await catalog.recover()
    await add(catalog, blob("new"), NGINX)
    await catalog.close()
    assert await state(tmp_path) == (Recovery.INTACT, 2)


async def test_a_copy_is_taken_only_where_something_changed(tmp_path: Path) -> None:
    await fill(tmp_path, 0, 5)
    catalog, copied = SqliteCatalog(tmp_path), tmp_path / "catalog.backup"
    await catalog.backup()
    first = copied.stat().st_ino, copied.stat().st_mtime_ns
    await catalog.backup()
    assert (copied.stat().st_ino, copied.stat().st_mtime_ns) == first
    await catalog.notes.write_note("a", "b")
    await catalog.backup()
    assert (copied.stat().st_ino, copied.stat().st_mtime_ns) != first
    await catalog.close()


async def test_a_copy_is_of_one_moment_however_much_is_written_meanwhile(tmp_path: Path) -> None:
    await fill(tmp_path, 0, 3000)
    catalog = SqliteCatalog(tmp_path)
    copying = asyncio.create_task(catalog.backup())
    written = 0
    while not copying.done():
        await add(catalog, blob(f"new {written}"), NGINX)
        written += 1
    await copying
    await catalog.close()
    assert written > 3, "they went on at the same time"
    (tmp_path / "catalog").unlink()
    recovered, entries = await state(tmp_path)
    assert recovered is Recovery.FROM_COPY
    assert 3000 <= entries < 3000 + written


class Rests(threading.Event):
    """Nobody gives the copy up; how long it rests is written down, and no time goes by."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.taken.append(timeout or 0.0)
        return False


async def test_a_copy_is_written_once_in_portions_behind_each_of_which_it_rests(tmp_path: Path) -> None:
    await fill(tmp_path, 0, 1000)
    rests, rate = Rests(), 1 << 20
    copy_catalog(tmp_path, rests, rate)
    size = (tmp_path / "catalog.backup").stat().st_size
    assert size / rate <= sum(rests.taken) < size / rate + 1
    assert max(rests.taken) <= 0.25, "256 KiB"


async def test_a_full_disk_is_told_and_taken_back_when_a_write_works_again(tmp_path: Path) -> None:
    catalog = SqliteCatalog(tmp_path)
    await catalog._database.alone(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchone())
    with pytest.raises(NoSpace):
        for number in range(1000):
            await catalog.notes.write_note(str(number), "x" * 4000)
    assert catalog.health.trouble == {"catalog": "no space for the catalog"}
    await catalog._database.alone(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchone())
    await catalog.notes.write_note("small", "x" * 4000)
    assert catalog.health.trouble == {}
    await catalog.close()
