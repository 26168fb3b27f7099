"""A process of its own whose calls of the C library are made to fail below one folder; see ``tests.disk.injector``."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.disk.injector import Injector, compiled


class Child:
    """Runs a script that answers each line on its input by one line of JSON. ``disk`` is the folder below which
    ``injector`` makes its calls fail."""

    def __init__(self, process: "subprocess.Popen[str]", injector: Injector, disk: Path) -> None:
        self.injector = injector
        self.disk = disk
        self._process = process

    def answers(self, line: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        said: dict[str, Any] = json.loads(self._process.stdout.readline())
        return said


@contextmanager
def child(folder: Path, script: str) -> Iterator[Child]:
    disk = folder / "disk"
    disk.mkdir()
    with Injector(compiled(folder), folder / "control", disk) as injector, injector.preloaded():
        argv = [sys.executable, "-c", script, str(disk)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
            try:
                yield Child(started, injector, disk)
            finally:
                started.kill()
