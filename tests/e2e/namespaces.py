"""Networks of a test's own: namespaces joined by one cable, from which no route leads anywhere else.

A thread may enter one; the processes that it starts are born there, and find everything else where it was. So clients
and proxies need not know of it.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TypeVar

import pytest

from tests.process import run

T = TypeVar("T")

_NEWNET = 0x40000000  # CLONE_NEWNET, setns(2)
NEEDS_NAMESPACES = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root and ip (iproute2): makes network namespaces"
)


class Namespace:
    """``name`` is that of ``ip netns``; ``address`` is its own on the cable."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address

    def run(self, work: Callable[[], T]) -> T:
        """What ``work`` gives, in a thread that is there. Raises what it raises, and OSError."""
        done: Future[T] = Future()

        def visit() -> None:
            try:
                self._enter()
                done.set_result(work())
            except BaseException as fault:
                done.set_exception(fault)

        visitor = Thread(target=visit, name=self.name)
        visitor.start()
        visitor.join()
        return done.result()

    def _enter(self) -> None:
        with (Path("/run/netns") / self.name).open("rb") as place:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(place.fileno(), _NEWNET) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))

    def ip(self, *words: str) -> bytes:
        return run(["ip", "-netns", self.name, *words])


@contextmanager
def cabled(*addresses: str) -> Iterator[tuple[Namespace, Namespace]]:
    """Two, by their addresses in one /24. Whatever still runs there at the end is ended, and both are gone."""
    one, other = (Namespace(f"e2e-{os.getpid()}-{number}", address) for number, address in enumerate(addresses))
    with contextlib.ExitStack() as stack:
        for each in (one, other):
            run(["ip", "netns", "add", each.name])
            stack.callback(_remove, each)
            each.ip("link", "set", "lo", "up")
        one.ip("link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", other.name)
        for each in (one, other):
            each.ip("address", "add", f"{each.address}/24", "dev", "cable")
            each.ip("link", "set", "cable", "up")
        yield one, other


def _remove(namespace: Namespace) -> None:
    inside = subprocess.run(["ip", "netns", "pids", namespace.name], capture_output=True, text=True, check=False)
    for pid in map(int, inside.stdout.split()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    run(["ip", "netns", "delete", namespace.name])
