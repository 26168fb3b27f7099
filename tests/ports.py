"""Ports for servers that a test starts: below the range from which the kernel gives clients theirs, so that no
connection made in between takes one away; and others for each worker of a parallel run."""

import os
import random
import socket
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

_FIRST = 10_240
_WORKERS = 8  # whose ports are apart


def free_port() -> int:
    """Another one each time. Raises OSError where none is free."""
    for port in islice(_candidates(), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port")


@cache
def _candidates() -> Iterator[int]:
    """Of this process: without end, none again before all the others."""
    end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    mine = list(range(_FIRST + worker, end, _WORKERS))
    random.SystemRandom().shuffle(mine)
    return _again_and_again(mine)


def _again_and_again(ports: list[int]) -> Iterator[int]:
    while True:
        yield from ports
