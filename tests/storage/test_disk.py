"""What only files can suffer: things planted under our names, a full disk, bit rot."""

import errno
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from proxy.core.errors import ContentMissing, NoSpace, StoreFailed
from proxy.core.names import Digest
from proxy.storage.disk import DiskStore
from proxy.storage.quarantine import Quarantine
from tests.storage.kit import put, take

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a tmpfs, gives a file to another user")
CONTENT = b"content"
DIGEST = Digest.of(CONTENT)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[DiskStore]:
    folder = tmp_path / "cache"
    folder.mkdir()
    store = DiskStore(folder)
    yield store
    store.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def place(root: Path, digest: Digest = DIGEST) -> Path:
    return root / "blobs" / digest.algorithm / digest.encoded[:2] / digest.encoded


def test_the_file_is_exactly_the_bytes_and_read_only(disk: DiskStore, root: Path) -> None:
    put(disk, CONTENT)
    assert place(root).read_bytes() == CONTENT
    assert stat.S_IMODE(place(root).stat().st_mode) == 0o444
    assert list((root / "ingest").iterdir()) == []
    reader = disk.open(DIGEST)
    assert os.pread(reader.fileno(), 100, 0) == CONTENT
    assert not os.get_inheritable(reader.fileno())
    reader.close()


def a_symlink_to_the_right_bytes(path: Path) -> None:
    (path.parents[4] / "outside").write_bytes(CONTENT)
    path.symlink_to(path.parents[4] / "outside")


def a_dangling_symlink(path: Path) -> None:
    path.symlink_to("/nowhere")


def a_full_folder(path: Path) -> None:
    path.mkdir()
    (path / "file").write_bytes(b"in it")


def an_empty_file(path: Path) -> None:
    path.touch()


def a_fifo(path: Path) -> None:
    os.mkfifo(path)


def a_file_of_another_user(path: Path) -> None:
    path.write_bytes(CONTENT)
    os.chown(path, 65534, 65534)


PLANTED = [
    a_symlink_to_the_right_bytes,
    a_dangling_symlink,
    a_full_folder,
    an_empty_file,
    a_fifo,
    pytest.param(a_file_of_another_user, marks=NEEDS_ROOT),
]


@pytest.mark.parametrize("plant", PLANTED)
def test_what_is_planted_under_a_name_is_a_miss_and_blocks_no_commit(
    disk: DiskStore, root: Path, plant: Callable[[Path], None]
) -> None:
    place(root).parent.mkdir()
    plant(place(root))
    with pytest.raises(ContentMissing):
        disk.open(DIGEST)
    assert not any(disk.shards())
    put(disk, CONTENT)
    assert take(disk.open(DIGEST)) == CONTENT
    assert place(root).is_file()
    assert not place(root).is_symlink()
    assert len(list((root / "quarantine").iterdir())) == (plant is not an_empty_file)


@pytest.mark.parametrize("plant", PLANTED)
@pytest.mark.parametrize("taken_by", ["remove", "quarantine"])
def test_what_is_planted_can_be_taken_away(
    disk: DiskStore, root: Path, plant: Callable[[Path], None], taken_by: str
) -> None:
    place(root).parent.mkdir()
    plant(place(root))
    getattr(disk, taken_by)(DIGEST)
    assert not os.path.lexists(place(root))
    if plant is a_symlink_to_the_right_bytes:
        assert (root.parent / "outside").read_bytes() == CONTENT


def test_a_symlink_for_a_shard_folder_is_never_followed(disk: DiskStore, root: Path) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / DIGEST.encoded).write_bytes(CONTENT)
    place(root).parent.symlink_to(outside)
    with pytest.raises(ContentMissing):
        disk.open(DIGEST)
    disk.remove(DIGEST)
    assert not any(disk.shards())
    put(disk, CONTENT)
    assert take(disk.open(DIGEST)) == CONTENT
    assert (outside / DIGEST.encoded).read_bytes() == CONTENT
    assert not place(root).parent.is_symlink()


def test_a_lost_shard_folder_costs_what_was_in_it_and_no_more(disk: DiskStore, root: Path) -> None:
    put(disk, CONTENT)
    place(root).unlink()
    place(root).parent.rmdir()
    with pytest.raises(ContentMissing):
        disk.open(DIGEST)
    assert disk.verify(put(disk, CONTENT))


def test_a_link_for_the_whole_tree_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "blobs").symlink_to("elsewhere")
    with pytest.raises(StoreFailed):
        DiskStore(tmp_path)


def test_a_shard_that_could_not_be_made_durable_is_no_foreign_thing(
    disk: DiskStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[int] = []

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) and not failed:
            failed.append(descriptor)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr("os.fsync", fsync)
    with pytest.raises(StoreFailed):
        put(disk, CONTENT)
    assert failed
    assert list((root / "quarantine").iterdir()) == []
    assert disk.verify(put(disk, CONTENT))


def test_foreign_files_are_passed_over(disk: DiskStore, root: Path) -> None:
    put(disk, CONTENT)
    shard = place(root).parent
    (shard / "README").write_text("foreign")
    (shard / ("0" * 64 if not DIGEST.encoded.startswith("00") else "1" * 64)).write_text("in the wrong shard")
    (shard.parent / "zz").mkdir(exist_ok=True)
    assert [held for portion in disk.shards() for held in portion] == [(DIGEST, len(CONTENT))]


@pytest.mark.parametrize("rot", [b"Content", b"conten", b"content+", b"\0" * 7])
def test_bit_rot_does_not_verify(disk: DiskStore, root: Path, rot: bytes) -> None:
    put(disk, CONTENT)
    place(root).chmod(0o644)
    place(root).write_bytes(rot)
    assert not disk.verify(DIGEST)
    disk.quarantine(DIGEST)
    assert [kept.read_bytes() for kept in (root / "quarantine").iterdir()] == [rot]


def test_a_sweep_takes_what_another_life_left(disk: DiskStore, root: Path) -> None:
    (root / "ingest" / "orphan").write_bytes(b"half")
    (root / "ingest" / "folder" / "deep").mkdir(parents=True)
    mine = disk.begin()
    assert disk.sweep() == 2
    assert len(list((root / "ingest").iterdir())) == 1
    mine.abort()
    assert list((root / "ingest").iterdir()) == []


@NEEDS_ROOT
def test_a_sweep_takes_the_others_where_one_cannot_be_removed(
    disk: DiskStore, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stubborn = root / "ingest" / "stubborn"
    stubborn.mkdir()
    for name in ("a", "z"):
        (root / "ingest" / name).write_bytes(b"half")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", stubborn], check=True)
    try:
        assert disk.sweep() == 2
        assert [left.name for left in (root / "ingest").iterdir()] == ["stubborn"]
    finally:
        subprocess.run(["umount", stubborn], check=True)
    assert "ingest/stubborn" in caplog.text
    assert disk.sweep() == 1


def test_the_quarantine_lets_the_oldest_go(tmp_path: Path) -> None:
    kept, source = tmp_path / "kept", tmp_path / "source"
    kept.mkdir()
    source.mkdir()
    folders = [os.open(path, os.O_RDONLY) for path in (kept, source)]
    quarantine = Quarantine(lambda: folders[0], entries_limit=3, bytes_limit=100)

    def names(number: int, size: int) -> list[str]:
        (source / str(number)).mkdir()
        (source / str(number) / "file").write_bytes(b"x" * size)
        quarantine.take(str(number), folders[1])
        return sorted(name.partition("-")[2] for name in os.listdir(kept))

    assert [names(number, 20) for number in range(4)][2:] == [["0", "1", "2"], ["1", "2", "3"]]
    assert names(4, 70) == ["3", "4"]
    assert names(5, 101) == []
    for folder in folders:
        os.close(folder)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[DiskStore]:
    """A store on a file system of 1 MiB and 24 inodes."""
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=24", "tmpfs", str(mount)], check=True)
    try:
        with closing(DiskStore(mount)) as store:
            yield store
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)


@NEEDS_ROOT
def test_a_full_disk_is_no_space_and_the_rest_stays_readable(small: DiskStore) -> None:
    digest = put(small, b"early" * 100)
    ingest = small.begin()
    with pytest.raises(NoSpace) as caught:
        for number in range(40):
            ingest.write(number * 65536, b"x" * 65536)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert take(small.open(digest)) == b"early" * 100
    ingest.abort()
    assert small.verify(put(small, b"y" * 400_000))


@NEEDS_ROOT
def test_no_more_inodes_is_no_space(small: DiskStore) -> None:
    begun = []
    with pytest.raises(NoSpace):
        for _ in range(30):
            begun.append(small.begin())
    assert 0 < len(begun) < 24
    for ingest in begun:
        ingest.abort()
    assert small.verify(put(small, CONTENT))


def test_a_file_that_somebody_changed_is_never_given_out(disk: DiskStore, root: Path) -> None:
    put(disk, CONTENT)
    place(root).chmod(0o644)
    place(root).write_bytes(b"CONTENT")  # the same size, other bytes
    with pytest.raises(ContentMissing):
        disk.open(DIGEST)
    assert not place(root).exists()
    assert [path.read_bytes() for path in (root / "quarantine").iterdir()] == [b"CONTENT"]


def test_a_file_that_was_copied_is_read_whole_once_and_trusted_again(disk: DiskStore, root: Path) -> None:
    put(disk, CONTENT)
    sealed = place(root).stat().st_mtime_ns
    os.utime(place(root))
    assert place(root).stat().st_mtime_ns != sealed
    assert take(disk.open(DIGEST)) == CONTENT
    assert place(root).stat().st_mtime_ns == sealed
