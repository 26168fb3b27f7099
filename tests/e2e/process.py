"""Real processes under test: started with their output in a file, ready before use, ended with all their children."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path


class ProcessFailed(Exception):
    """A process ended, or did not become ready, or a command failed; the text shows the end of its output."""


class Process:
    """One running process, the leader of its own process group."""

    def __init__(self, argv: Sequence[str], log: Path) -> None:
        self.log = log
        self._name = Path(argv[0]).name
        self._status: int | None = None
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def wait_until(self, ready: Callable[[], bool], patience: float = 30.0) -> None:
        """Polls ``ready``. Raises ProcessFailed when the process ends first or ``patience`` seconds are over."""
        deadline = time.monotonic() + patience
        while not ready():
            if self._popen.poll() is not None:
                raise ProcessFailed(f"{self._name} ended with {self._popen.returncode}:\n{tail(self.log)}")
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{self._name} was not ready in {patience} s:\n{tail(self.log)}")
            time.sleep(0.02)

    def stop(self, patience: float = 15.0) -> int:
        """Asks the process to end, then ends what is left of its group; returns the exit status. Idempotent."""
        if self._status is None:
            self._popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(patience)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)
            self._status = self._popen.wait()
        return self._status


@contextlib.contextmanager
def running(argv: Sequence[str], log: Path, ready: Callable[[], bool], patience: float = 30.0) -> Iterator[Process]:
    """A process from ready to ended."""
    process = Process(argv, log)
    try:
        process.wait_until(ready, patience)
        yield process
    finally:
        process.stop()


def run(argv: Sequence[str], env: Mapping[str, str] | None = None, patience: float = 120.0) -> bytes:
    """Output of a command that must succeed. Raises ProcessFailed."""
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, **(env or {})},
        timeout=patience,
        check=False,
    )
    if done.returncode != 0:
        shown = (done.stdout + done.stderr).decode(errors="replace")[-4000:]
        raise ProcessFailed(f"{' '.join(argv)} ended with {done.returncode}:\n{shown}")
    return done.stdout


def tail(log: Path, limit: int = 4000) -> str:
    """The last ``limit`` bytes of a log."""
    return log.read_bytes()[-limit:].decode(errors="replace") if log.exists() else ""


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def listens_on(path: Path) -> bool:
    """The same for a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        return probe.connect_ex(str(path)) == 0


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
