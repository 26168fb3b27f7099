"""Folders for the stores of real clients."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder with a path short enough for unix sockets; what is mounted below it is unmounted at the end."""
    with tempfile.TemporaryDirectory(prefix="e2e-") as name:
        try:
            yield Path(name)
        finally:
            mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
            for mount in sorted((m for m in mounts if m.startswith(f"{name}/")), reverse=True):
                subprocess.run(["umount", "--lazy", mount], check=False)
