"""The cache folder as a whole."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.storage.folder import FolderRefused, cache_folder

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives a folder to another user")

HOLD = """
import sys
from pathlib import Path
from proxy.storage.folder import cache_folder
with cache_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_new_folder_is_private_and_opens_again(tmp_path: Path) -> None:
    path = tmp_path / "a" / "cache"
    for _ in range(2):
        with cache_folder(path) as held:
            assert held.path == path
    assert path.stat().st_mode & 0o777 == 0o700
    assert (path / "format").read_text() == "entrepot 1\n"


def test_a_second_process_is_refused_by_the_pid_of_the_first_even_after_a_kill(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "cache")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with (
                pytest.raises(FolderRefused, match=f"in use by process {holder.pid};"),
                cache_folder(tmp_path / "cache"),
            ):
                pass
        finally:
            holder.kill()
    with cache_folder(tmp_path / "cache"):
        assert (tmp_path / "cache" / "lock").read_text() == f"{os.getpid()}\n"


def test_an_unknown_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "format").write_text("entrepot 99\n")
    with pytest.raises(FolderRefused, match="'entrepot 99'"), cache_folder(tmp_path):
        pass
    assert (tmp_path / "format").read_text() == "entrepot 99\n"


def test_somebody_elses_files_are_not_a_cache(tmp_path: Path) -> None:
    (tmp_path / "thesis.odt").write_text("precious")
    with pytest.raises(FolderRefused, match=r"thesis\.odt"), cache_folder(tmp_path):
        pass


@NEEDS_ROOT
def test_a_folder_of_another_user_that_we_can_write_to_is_used_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.chown(tmp_path, 65534, 65534)
    with cache_folder(tmp_path):
        assert "belongs to user 65534" in caplog.text
    assert (tmp_path / "format").stat().st_mode & 0o777 == 0o600


@NEEDS_ROOT
def test_a_folder_of_another_user_that_we_cannot_write_to_is_refused_with_what_helps(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    command = HOLD.replace("with ", "import os; os.setgid(65534); os.setuid(65534)\nwith ")
    done = subprocess.run([sys.executable, "-c", command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "FolderRefused" in done.stderr


@NEEDS_ROOT
def test_an_empty_folder_on_a_full_or_read_only_disk_is_held_and_stamped_later(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,ro", "tmpfs", str(tmp_path)], check=True)
    try:
        with cache_folder(tmp_path) as held:
            assert list(tmp_path.iterdir()) == []
            for _ in range(2):
                with pytest.raises(OSError, match="Read-only"):  # and not that we are in our own way
                    held.claim()
            subprocess.run(["mount", "-o", "remount,rw", str(tmp_path)], check=True)
            held.claim()
            assert (tmp_path / "format").read_text() == "entrepot 1\n"
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_folder_that_was_emptied_is_locked_and_stamped_again(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    with cache_folder(path) as held:
        shutil.rmtree(path)
        held.claim()
        (path / "catalog").touch()
        with pytest.raises(FolderRefused, match="in use by"), cache_folder(path):
            pass
    with cache_folder(path):
        pass


def test_a_file_or_a_planted_lock_link_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for wrong in (file, file / "below"):
        with pytest.raises(FolderRefused), cache_folder(wrong):
            pass
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "lock").symlink_to(file)
    with pytest.raises(FolderRefused), cache_folder(folder):
        pass
    assert file.read_bytes() == b""
