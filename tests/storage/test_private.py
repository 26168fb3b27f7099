"""What is on the disk is for this user alone, whatever the umask is and whoever made the folder; and nothing is written
through a link that somebody planted in it."""

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from proxy.core.names import Digest
from proxy.storage.catalog import SqliteCatalog
from proxy.storage.disk import DiskStore
from proxy.storage.folder import FolderRefused, cache_folder
from tests.storage.kit import NGINX, add, blob, put

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives a folder to another user")
PRECIOUS = b"precious"


@pytest.fixture(params=[0o000, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


async def lived_in(path: Path) -> dict[str, str]:
    """Modes of all but committed blobs, while it is in use, after everything was written that ever is."""
    with cache_folder(path), closing(DiskStore(path)) as store:
        put(store, b"content")
        ingest = store.begin()
        store.quarantine(put(store, b"bad"))
        catalog = SqliteCatalog(path)
        await add(catalog, blob("a"), NGINX)
        await catalog.backup()
        found = {
            str(each.relative_to(path)): oct(stat.S_IMODE(each.lstat().st_mode))
            for each in path.rglob("*")
            if stat.S_IMODE(each.lstat().st_mode) != 0o444
        }
        ingest.abort()
        await catalog.close()
    return found


def expected(path: Path, found: dict[str, str]) -> dict[str, str]:
    return {name: "0o700" if (path / name).is_dir() else "0o600" for name in found}


async def test_it_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "cache"
    found = await lived_in(path)
    names = {
        "lock",
        "format",
        "catalog",
        "catalog.backup",
        "catalog-wal",
        "blobs",
        "ingest",
        "quarantine",
    }
    assert names <= found.keys()
    assert found == expected(path, found)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


async def test_what_an_earlier_start_left_open_is_closed(tmp_path: Path) -> None:
    await lived_in(tmp_path)
    for each in (tmp_path, *tmp_path.rglob("*")):
        each.chmod(0o777 if each.is_dir() else 0o666)
    found = {name: mode for name, mode in (await lived_in(tmp_path)).items() if not name.startswith("blobs/sha256/")}
    found = {name: mode for name, mode in found.items() if not name.startswith("quarantine/")}
    assert found == expected(tmp_path, found)


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o2775, 0o1777])
def test_a_folder_of_ours_that_is_open_to_others_is_told_and_made_private(
    tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(mode)
    with cache_folder(tmp_path):
        assert stat.S_IMODE(tmp_path.stat().st_mode) & 0o777 == 0o700
    assert f"was open to others (mode {mode:04o})" in caplog.text


def test_a_folder_that_is_refused_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.odt").write_text("precious")
    tmp_path.chmod(0o755)
    with pytest.raises(FolderRefused), cache_folder(tmp_path):
        pass
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


@NEEDS_ROOT
async def test_in_a_folder_of_another_user_the_contents_are_private_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As an fsGroup of Kubernetes has it."""
    os.chown(tmp_path, 65534, 65534)
    tmp_path.chmod(0o2775)
    before = os.umask(0)
    try:
        found = await lived_in(tmp_path)
    finally:
        os.umask(before)
    assert found == expected(tmp_path, found)
    assert "belongs to user 65534" in caplog.text
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o2775


NAMES = [
    "lock", "format", "format.new", "catalog", "catalog-wal", "catalog-shm", "catalog-journal", "catalog.new",
    "catalog.new-wal", "catalog.new-journal", "catalog.backup", "catalog.backup.new", "catalog.backup.new-journal",
    "blobs", "ingest", "quarantine",
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "hard"),
    [(name, False) for name in NAMES]
    # A file of ours that is locked, and folders, of which there are no hard links.
    + [(name, True) for name in NAMES if name not in ("lock", "blobs", "ingest", "quarantine")],
)
async def test_nothing_is_written_through_a_planted_link(tmp_path: Path, name: str, hard: bool) -> None:
    path, victim, room = tmp_path / "cache", tmp_path / "victim", tmp_path / "room"
    path.mkdir()
    room.mkdir()
    victim.write_bytes(PRECIOUS)
    if not name.startswith("format"):
        (path / "format").write_text("entrepot 1\n")
    if hard:
        os.link(victim, path / name)
    else:
        (path / name).symlink_to(room if name in ("blobs", "ingest", "quarantine") else victim)
    try:
        await lived_in(path)
    except Exception as refusal:
        assert isinstance(refusal, FolderRefused) or "cannot" in str(refusal), refusal
    assert victim.read_bytes() == PRECIOUS
    assert list(room.iterdir()) == []


async def test_a_log_that_is_a_link_costs_the_link_and_not_the_catalog(tmp_path: Path) -> None:
    catalog = SqliteCatalog(tmp_path)
    await add(catalog, blob("a"), NGINX)
    await catalog.close()
    (tmp_path / "victim").write_bytes(PRECIOUS)
    for ending in ("-wal", "-shm", "-journal"):
        (tmp_path / f"catalog{ending}").unlink(missing_ok=True)
        (tmp_path / f"catalog{ending}").symlink_to("victim")
    catalog = SqliteCatalog(tmp_path)
    assert await catalog.contents.get(Digest.of(b"a")) is not None
    await add(catalog, blob("b"), NGINX)
    await catalog.close()
    assert (tmp_path / "victim").read_bytes() == PRECIOUS
