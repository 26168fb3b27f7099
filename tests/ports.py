"""Ports for servers that a test starts: below the range from which the kernel gives clients theirs, so that no
connection made in between takes one away."""

import random
import socket
from pathlib import Path

_FIRST = 10_240


def free_port() -> int:
    """Raises OSError where none is free."""
    end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.sample(range(_FIRST, end), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port")
