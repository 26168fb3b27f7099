"""What was found under a name that it has no right to, kept out of reach for a person to look at.

Bounded: the oldest goes first. Never read, never followed, never counted as held.
"""

import os
import shutil
import stat
import threading
import time
from collections.abc import Callable

ENTRIES_LIMIT = 64
BYTES_LIMIT = 1 << 30


def erase(name: str, folder: int) -> None:
    """Removes whatever has that name in the folder, a whole tree too. Symlinks are not followed. Raises OSError."""
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        shutil.rmtree(name, dir_fd=folder)


def _size(name: str, folder: int) -> int:
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        return found.st_size
    return sum(
        os.stat(file, dir_fd=inner, follow_symlinks=False).st_size
        for _, _, files, inner in os.fwalk(name, dir_fd=folder)
        for file in files
    )


class Quarantine:
    """``folder`` gives the descriptor of its folder, which it does not own."""

    def __init__(
        self, folder: Callable[[], int], entries_limit: int = ENTRIES_LIMIT, bytes_limit: int = BYTES_LIMIT
    ) -> None:
        self._folder = folder
        self._entries_limit = entries_limit
        self._bytes_limit = bytes_limit
        self._lock = threading.Lock()

    def take(self, name: str, parent: int) -> None:
        """Moves ``name`` of the folder ``parent`` here; nothing there is not an error. Raises OSError."""
        with self._lock:
            try:
                os.rename(name, f"{time.time_ns():020}-{name}", src_dir_fd=parent, dst_dir_fd=self._folder())
            except FileNotFoundError:
                return
            self._trim()

    def size(self) -> int:
        """Bytes that are kept here. Raises OSError."""
        with self._lock:
            folder = self._folder()
            return sum(_size(name, folder) for name in os.listdir(folder))

    def _trim(self) -> None:
        folder, kept_bytes = self._folder(), 0
        for position, name in enumerate(sorted(os.listdir(folder), reverse=True)):  # newest first
            kept_bytes += _size(name, folder)
            if position >= self._entries_limit or kept_bytes > self._bytes_limit:
                erase(name, folder)
