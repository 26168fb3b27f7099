"""The admin listener as a file: whose it is, and what becomes of it."""

import os
import socket
import stat
from pathlib import Path

import pytest

from proxy.admin.unix_socket import bound_socket


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "admin.sock"


@pytest.mark.parametrize("mode", [0o600, 0o660])
@pytest.mark.parametrize("umask", [0, 0o077])
def test_it_has_its_mode_whatever_the_umask(path: Path, mode: int, umask: int) -> None:
    before = os.umask(umask)
    try:
        with bound_socket(path, mode):
            assert stat.S_IMODE(path.stat().st_mode) == mode
    finally:
        os.umask(before)
    assert not path.exists()


def test_what_a_dead_process_left_is_taken_away(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    left = path.stat().st_ino, path.stat().st_mtime_ns
    with bound_socket(path, 0o600) as sock:
        assert (path.stat().st_ino, path.stat().st_mtime_ns) != left
        sock.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_that_of_a_living_one_is_left_alone(path: Path) -> None:
    with bound_socket(path, 0o600) as sock:
        sock.listen()
        with pytest.raises(OSError, match="another process listens there"), bound_socket(path, 0o600):
            pass
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_so_is_what_is_no_socket(path: Path, kind: str) -> None:
    precious = path.parent / "precious"
    precious.write_text("precious")
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(precious)
    else:
        path.write_text("precious")
    with pytest.raises(OSError, match="a file that is no socket"), bound_socket(path, 0o600):
        pass
    assert path.exists()
    assert precious.read_text() == "precious"


def test_a_file_that_took_its_place_is_not_taken_away(path: Path) -> None:
    with bound_socket(path, 0o600):
        path.unlink()
        path.write_text("another's")
    assert path.read_text() == "another's"
