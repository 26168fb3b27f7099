"""Bringing a catalog back where the disk does not help: into memory, from what can still be read, and down again."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy.core.errors import NoSpace, StoreFailed
from proxy.storage.catalog import SqliteCatalog
from proxy.storage.contract import FIRST_CURSOR, EvictionClass
from proxy.storage.recoveries import Recovery
from tests.homes.volumes import tmpfs
from tests.process import run
from tests.storage.kit import NGINX, add, blob, usage
from tests.storage.test_sqlite_catalog import copy, fill, garbage, overwrite, state

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a tmpfs")


MOUNTED = tmpfs("8m")


def remount(place: Path, option: str) -> None:
    run(["mount", "-o", f"remount,{option}", str(place)])


@contextmanager
def no_new_catalog(folder: Path) -> Iterator[None]:
    """The disk takes no ``catalog.new``: the name is a mount point, and nothing can be removed from under it."""
    (folder / "catalog.new").mkdir()
    with MOUNTED(folder / "catalog.new"):
        yield
    (folder / "catalog.new").rmdir()


async def test_a_damaged_catalog_on_a_read_only_disk_is_read_from_its_copy_which_no_empty_one_replaces(
    tmp_path: Path,
) -> None:
    with MOUNTED(tmp_path):
        await fill(tmp_path, 0, 300)
        await copy(tmp_path)
        garbage(tmp_path / "catalog")
        remount(tmp_path, "ro")
        catalog = SqliteCatalog(tmp_path)
        assert (catalog.recovered, (await usage(catalog)).entries) == (Recovery.FROM_COPY, 300)
        remount(tmp_path, "rw")
        await catalog.recover()
        await catalog.backup()
        await catalog.close()
        assert await state(tmp_path) == (Recovery.INTACT, 300)
        (tmp_path / "catalog").unlink()
        assert await state(tmp_path) == (Recovery.FROM_COPY, 300)


async def test_a_catalog_of_unsound_pages_on_a_read_only_disk_is_no_intact_one(tmp_path: Path) -> None:
    with MOUNTED(tmp_path):
        await fill(tmp_path, 0, 2000)
        await copy(tmp_path)
        await fill(tmp_path, 2000, 2010)
        overwrite(tmp_path / "catalog", "orphan_by_use")
        remount(tmp_path, "ro")
        catalog = SqliteCatalog(tmp_path)
        assert (catalog.recovered, (await usage(catalog)).entries) == (Recovery.FROM_COPY, 2000)
        await catalog.close()


@pytest.mark.parametrize("held", [False, True])
async def test_with_nothing_to_read_it_is_new_only_where_nothing_is_held(tmp_path: Path, held: bool) -> None:
    with MOUNTED(tmp_path):
        if held:
            (tmp_path / "blobs" / "sha256" / "ab").mkdir(parents=True)
            (tmp_path / "blobs" / "sha256" / "ab" / "abc").touch()
        remount(tmp_path, "ro")
        assert await state(tmp_path) == (Recovery.EMPTY if held else Recovery.NEW, 0)


async def test_damage_that_the_disk_does_not_let_us_mend_is_mended_in_memory_and_written_down_later(
    tmp_path: Path,
) -> None:
    await fill(tmp_path, 0, 2000)
    overwrite(tmp_path / "catalog", "orphan_by_use")
    catalog = SqliteCatalog(tmp_path)
    with no_new_catalog(tmp_path):
        assert len(await catalog.contents.idle(EvictionClass.ORPHANS, FIRST_CURSOR, 3000)) == 2000
        assert (catalog.recovered, list(catalog.health.trouble)) == (Recovery.MENDED, ["catalog"])
        await add(catalog, blob("new"), NGINX)
    await catalog.recover()
    assert catalog.health.trouble == {}
    await catalog.close()
    assert await state(tmp_path) == (Recovery.INTACT, 2001)


async def test_where_not_even_the_rows_can_be_read_the_copy_is_used_in_memory(tmp_path: Path) -> None:
    await fill(tmp_path, 0, 2000)
    await copy(tmp_path)
    await fill(tmp_path, 2000, 2010)
    overwrite(tmp_path / "catalog", "content")
    catalog = SqliteCatalog(tmp_path)
    with no_new_catalog(tmp_path):
        for _ in range(2):
            assert len(await catalog.contents.between("", "t")) == 2000
        assert catalog.recovered is Recovery.FROM_COPY
    await catalog.recover()
    await catalog.close()
    assert await state(tmp_path) == (Recovery.INTACT, 2000)


async def test_tries_that_fail_leave_what_was_moved_aside_first(tmp_path: Path) -> None:
    """A catalog that no disk lets take its place: what a person may want to look at is still there afterwards."""
    await fill(tmp_path, 0, 50)
    garbage(tmp_path / "catalog")
    original = (tmp_path / "catalog").read_bytes()
    await fill(tmp_path, 0, 50)
    catalog = SqliteCatalog(tmp_path)
    await add(catalog, blob("new"), NGINX)
    with no_new_catalog(tmp_path):
        for path in tmp_path.glob("catalog*"):
            if path.is_file() and "corrupt" not in path.name:
                path.unlink()
        await catalog.recover()
        assert list(catalog.health.trouble) == ["catalog"], "it is kept in memory"
        for _ in range(5):
            with pytest.raises(StoreFailed):
                await catalog.recover()
    await catalog.recover()
    await catalog.close()
    assert await state(tmp_path) == (Recovery.INTACT, 51)
    assert (tmp_path / "catalog.corrupt-1").read_bytes() == original


async def test_each_time_that_it_is_brought_back_counts(tmp_path: Path) -> None:
    catalog = SqliteCatalog(tmp_path)
    await add(catalog, blob("old"), NGINX)
    seen = [catalog.recoveries]
    for _ in range(2):
        for path in tmp_path.glob("catalog*"):
            path.unlink()
        await catalog.recover()
        seen.append(catalog.recoveries)
    await catalog.close()
    assert seen == [0, 1, 2]
    assert catalog.recovered is Recovery.MENDED, "both times: the word alone does not tell them apart"


async def test_a_disk_that_is_full_where_the_exchange_would_happen_keeps_the_old_one_in_its_place(
    tmp_path: Path,
) -> None:
    with tmpfs("3m")(tmp_path):
        await fill(tmp_path, 0, 20)
        before = sorted(path.name for path in tmp_path.iterdir())
        remount(tmp_path, "ro")
        catalog = SqliteCatalog(tmp_path)
        remount(tmp_path, "rw")
        ballast = tmp_path / "ballast"
        with open(ballast, "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        for _ in range(4):
            with pytest.raises(NoSpace):
                await catalog.recover()
        ballast.unlink()
        assert {path.name for path in tmp_path.iterdir()} - {"catalog.new"} == set(before)
        await catalog.recover()
        await catalog.close()
        assert await state(tmp_path) == (Recovery.INTACT, 20)
