"""Killed, refused by the disk, or without power in the middle of a commit. Faults are injected by strace into the real
system calls of a process of its own; a power cut is the shutdown of an ext4 file system: what is not on disk is lost.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from proxy.core.errors import ContentMissing
from proxy.core.names import Digest
from proxy.storage.disk import DiskStore
from tests.storage.kit import put, take

NEEDS_STRACE = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a loop device")
CONTENT = b"layer" * 100_000
DIGEST = Digest.of(CONTENT)
EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
NO_LOG_FLUSH = b"\x02\x00\x00\x00"  # EXT4_GOING_FLAGS_NOLOGFLUSH: nothing that is in memory reaches the disk

COMMIT = """
import sys
from pathlib import Path
from proxy.core.errors import Fault
from proxy.core.names import Digest
from proxy.storage.disk import DiskStore
content = b"layer" * 100_000
store = DiskStore(Path(sys.argv[1]))
ingest = store.begin()
ingest.write(0, content)
try:
    ingest.commit(Digest.of(content), len(content))
    print("committed", flush=True)
except Fault as fault:
    print(type(fault).__name__, flush=True)
"""


def prepare(root: Path) -> None:
    """All folders exist, so that the only syncs of a commit are the file's and its folder's."""
    DiskStore(root).close()
    (root / "blobs" / "sha256" / DIGEST.encoded[:2]).mkdir()


def commit_under(root: Path, injection: str) -> subprocess.CompletedProcess[str]:
    """Runs one commit with strace's injection, and demands that it fired."""
    trace = root.with_suffix(".trace")
    command = ["strace", "-f", "-o", str(trace), "-e", "trace=fsync,fchmod,rename,renameat,renameat2,pwrite64"]
    done = subprocess.run(
        [*command, "-e", f"inject={injection}", sys.executable, "-c", COMMIT, str(root)],
        check=False,
        capture_output=True,
        text=True,
    )
    seen = trace.read_text()
    assert "INJECTED" in seen or "killed by SIGKILL" in seen, done.stderr
    return done


def blobs(root: Path) -> list[bytes]:
    return [path.read_bytes() for path in (root / "blobs").rglob("*") if path.is_file()]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    prepare(folder)
    return folder


@NEEDS_STRACE
@pytest.mark.parametrize(
    ("point", "visible"),
    [
        ("pwrite64", False),
        ("fsync", False),
        ("fchmod", False),
        ("rename,renameat,renameat2", False),
        ("fsync:when=2", True),
    ],
    ids=["before writes", "after writes", "after the file's sync", "before rename", "after rename"],
)
def test_a_kill_leaves_all_or_nothing_and_the_sweep_takes_the_rest(root: Path, point: str, visible: bool) -> None:
    calls, _, when = point.partition(":")
    died = commit_under(root, ":".join(filter(None, [calls, "error=EIO", "signal=KILL", when])))
    assert died.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert "committed" not in died.stdout
    assert blobs(root) == ([CONTENT] if visible else [])
    store = DiskStore(root)
    assert store.sweep() == (not visible)
    assert list((root / "ingest").iterdir()) == []
    assert store.verify(put(store, CONTENT))
    store.close()


@NEEDS_STRACE
@pytest.mark.parametrize(("error", "fault"), [("EIO", "StoreFailed"), ("ENOSPC", "NoSpace"), ("EDQUOT", "NoSpace")])
@pytest.mark.parametrize("call", ["fsync:when=1", "fchmod", "rename,renameat,renameat2", "fsync:when=2"])
def test_a_commit_that_the_disk_refuses_leaves_nothing(root: Path, call: str, error: str, fault: str) -> None:
    calls, _, when = call.partition(":")
    done = commit_under(root, ":".join(filter(None, [calls, f"error={error}", when])))
    assert (done.returncode, done.stdout) == (0, f"{fault}\n"), done.stderr
    assert blobs(root) == []
    assert list((root / "ingest").iterdir()) == []


@NEEDS_STRACE
def test_a_short_write_is_carried_on(root: Path) -> None:
    done = commit_under(root, "pwrite64:retval=0:when=1")
    assert (done.returncode, done.stdout) == (0, "committed\n")
    assert blobs(root) == [CONTENT]


@contextmanager
def mounted(image: Path, mount: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-o", "loop", str(image), str(mount)], check=True)
    try:
        yield mount
    finally:
        subprocess.run(["umount", str(mount)], check=True)  # fails where something is still open


def cut_power(mount: Path) -> None:
    folder = os.open(mount, os.O_RDONLY)
    try:
        fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH)
    finally:
        os.close(folder)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "ext4.img"
    with path.open("wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(path)], check=True)
    (tmp_path / "mount").mkdir()
    return path


@NEEDS_ROOT
def test_what_was_committed_survives_a_power_cut_and_nothing_else_shows(image: Path, tmp_path: Path) -> None:
    with mounted(image, tmp_path / "mount") as mount, closing(DiskStore(mount)) as store:
        half = store.begin()
        put(store, CONTENT)
        half.write(0, b"never committed")
        cut_power(mount)
        with pytest.raises(OSError, match="Input/output error"):
            (mount / "probe").touch()
        half.abort()
    with mounted(image, tmp_path / "mount") as mount, closing(DiskStore(mount)) as store:
        assert take(store.open(DIGEST)) == CONTENT
        assert [held for portion in store.shards() for held in portion] == [(DIGEST, len(CONTENT))]
        with pytest.raises(ContentMissing):
            store.open(Digest.of(b"never committed"))
        store.sweep()
        assert list((mount / "ingest").iterdir()) == []
