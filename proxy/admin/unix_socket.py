"""A Unix socket as a file: made for those who may use it and nobody else, even for a moment."""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_KNOCK = 1.0  # seconds


@contextmanager
def bound_socket(path: Path, mode: int) -> Iterator[socket.socket]:
    """Bound, not listening yet; the file goes with it. What a dead process left there is taken away. Raises OSError
    where the file is no socket, or somebody listens on it."""
    _clear(path)
    with socket.socket(socket.AF_UNIX) as sock:
        # The file is made with no more than the mode of the socket itself (Linux, unix_bind), so there is no moment at
        # which others could connect; what the umask took away comes behind.
        os.fchmod(sock.fileno(), mode)
        sock.bind(str(path))
        path.chmod(mode)
        made = _file(path)
        try:
            yield sock
        finally:
            with suppress(OSError):
                if _file(path) == made:
                    path.unlink()


def _file(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _clear(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EEXIST, "there is a file that is no socket", str(path))
    if _is_answered(path):
        raise OSError(errno.EADDRINUSE, "another process listens there", str(path))
    path.unlink(missing_ok=True)


def _is_answered(path: Path) -> bool:
    """Only where the kernel says that nobody listens there nobody does."""
    with socket.socket(socket.AF_UNIX) as knock:
        knock.settimeout(_KNOCK)
        try:
            knock.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
        return True
