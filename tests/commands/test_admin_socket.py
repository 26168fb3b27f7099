"""Commands and the running proxy meet on a Unix socket that the configuration names."""

import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process import Entrepot, ProcessFailed


def entrepot(folder: Path, sock: Path) -> Entrepot:
    upstreams = {"registry.test": {"url": "http://127.0.0.1:9"}}
    return Entrepot(folder, {"upstreams": upstreams, "admin_socket": str(sock), "admin_socket_access": "group"})


@pytest.fixture
def sock(tmp_path: Path) -> Path:
    return tmp_path / "admin.sock"


@pytest.fixture
def proxy(tmp_path: Path, sock: Path) -> Iterator[Entrepot]:
    proxy = entrepot(tmp_path / "one", sock)
    yield proxy
    proxy.dispose()


def test_commands_find_it_and_a_start_after_a_crash_has_it_again(tmp_path: Path, sock: Path, proxy: Entrepot) -> None:
    proxy.start()
    proxy.process.signal(signal.SIGKILL)
    proxy.process.ended()
    assert stat.S_ISSOCK(sock.lstat().st_mode)

    proxy.start()
    assert stat.S_IMODE(sock.stat().st_mode) == 0o660
    proxy.admin = 0  # so that a command is told of no other place
    purge = proxy.command("purge", "none/*", "--yes")
    assert (purge.returncode, purge.stdout) == (1, "nothing held matches none/*\n"), purge.stderr

    other = entrepot(tmp_path / "two", sock)
    with pytest.raises(ProcessFailed, match="another process listens there"):
        other.start()
    other.dispose()
    proxy.stop()
    assert not sock.exists()
