"""Processes under test: started with their output in a file, ready before use, ended by their id with all their
children; and Entrepot as one of them, as users start it.

Everything here blocks. A scene on a loop calls it in a thread: ``tests.scenarios.process``.
"""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

PROXY = (sys.executable, "-m", "proxy")
"""The command line of Entrepot."""

_POLL = 0.01  # seconds
_ANNOUNCED = re.compile(r"serves pulls on \S+:(\d+), admin on \S+:(\d+)")


class ProcessFailed(Exception):
    """A process ended, or did not become ready, or a command failed; the text shows the end of its output."""


class Process:
    """One running process, the leader of its own group. ``log`` gathers all that it prints; ``passed`` are descriptors
    that it has too."""

    def __init__(
        self, argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None, passed: Sequence[int] = ()
    ) -> None:
        self.log = log
        self._name = Path(argv[0]).name
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=log.parent,
                start_new_session=True,
                pass_fds=passed,
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
            time.sleep(_POLL)

    def signal(self, number: int) -> None:
        """Nothing, where it has ended."""
        self._popen.send_signal(number)

    def ended(self, patience: float = 30.0) -> int:
        """The exit status, when it ends by itself. Raises ProcessFailed where that takes longer than ``patience``."""
        try:
            return self._popen.wait(patience)
        except subprocess.TimeoutExpired:
            raise ProcessFailed(f"{self._name} still runs after {patience} s:\n{tail(self.log)}") from None

    def stop(self, patience: float = 15.0) -> int:
        """Asks the process to end, then ends what is left of its group; returns the exit status. Idempotent."""
        if self._popen.returncode is None:
            self._popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(patience)
            self.kill()
        return self._popen.wait()

    def kill(self) -> None:
        """At once, with its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()


@contextmanager
def running(
    argv: Sequence[str],
    log: Path,
    ready: Callable[[], bool],
    patience: float = 30.0,
    env: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """A process from ready to ended. Raises ProcessFailed."""
    process = Process(argv, log, env)
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


# ---------------------------------------------------------------- Entrepot


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


def get(port: int, path: str, headers: Mapping[str, str] | None = None) -> Answer:
    """One GET on a connection of its own. Raises OSError or HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


class Entrepot:
    """``serve`` in a folder of its own, which outlives the process: it can be ended and started again.

    ``settings`` is the configuration file; they replace the few that stand here. Ports are the kernel's choice, and
    known once it has started. ``under`` are words before its command line, of a command that becomes it, which has the
    descriptors ``passed`` too.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], under: Sequence[str] = (), passed: Sequence[int] = ()
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._under, self._passed = under, passed
        self.cache = folder / "cache"
        self.config = folder / "entrepot.yaml"
        self.log = folder / "entrepot.log"
        self.port = self.admin = 0
        self._before = 0  # characters of the log when it was launched
        self._process: Process | None = None
        given = {
            "listen": "127.0.0.1:0",
            "admin": "127.0.0.1:0",
            "cache": {"path": str(self.cache), "max_size": "2GiB", "min_free": 0},
            "drain": {"delay": "0s", "timeout": "10s"},
        }
        self.config.write_text(yaml.safe_dump({**given, **settings}))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def process(self) -> Process:
        """The last one that was started."""
        assert self._process is not None
        return self._process

    def launch(self) -> None:
        """Without waiting for anything."""
        self._before = len(self.log.read_text()) if self.log.exists() else 0
        argv = [*self._under, *PROXY, "serve", "--config", str(self.config)]
        self._process = Process(argv, self.log, passed=self._passed)

    def start(self) -> None:
        """Until it is ready. Raises ProcessFailed where it ends first."""
        self.launch()
        self.announced()

    def announced(self) -> None:
        """Until the process that was launched last says where it listens, which is when it is ready. Raises
        ProcessFailed where it ends first."""
        self.process.wait_until(self._has_announced)

    def _has_announced(self) -> bool:
        found = _ANNOUNCED.search(self.log.read_text(), self._before)
        if found:
            self.port, self.admin = int(found[1]), int(found[2])
        return found is not None

    def says(self, words: str) -> None:
        """Until the log has them: it is written a moment after what it tells of. Raises ProcessFailed where it never
        does."""
        self.process.wait_until(lambda: words in self.log.read_text())

    def stop(self) -> None:
        """Raises ProcessFailed where it does not end well."""
        if (status := self.process.stop()) != 0:
            raise ProcessFailed(f"entrepot ended with {status}:\n{tail(self.log)}")

    def dispose(self) -> None:
        """Whether it runs or not."""
        if self._process is not None:
            self._process.kill()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return get(self.port, path, headers)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command to it, on its configuration, with the addresses that it really has."""
        at = {"ENTREPOT_ADMIN": f"127.0.0.1:{self.admin}"} if self.admin else {}
        argv = [*PROXY, *words, "--config", str(self.config)]
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=os.environ | at,
        )


@contextmanager
def proxying(folder: Path, upstreams: Mapping[str, Any], **settings: Any) -> Iterator[Entrepot]:
    """A running Entrepot before ``upstreams``; it must stop cleanly and never have met an error of its own. Raises
    ProcessFailed."""
    entrepot = Entrepot(folder, {"upstreams": dict(upstreams), **settings})
    try:
        entrepot.start()
        yield entrepot
        entrepot.stop()
        if "Traceback" in entrepot.log.read_text():
            raise ProcessFailed(f"entrepot met an error of its own:\n{tail(entrepot.log)}")
    finally:
        entrepot.dispose()
