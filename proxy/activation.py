"""Sockets that the service manager has opened and passes on (sd_listen_fds(3)): a restart of the process then loses no
connection, for they wait in them."""

import errno
import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from typing import NamedTuple

from proxy.config import Address, Settings

FIRST = 3
"""The descriptor that the first of them has."""
_FAMILIES = {socket.AF_INET, socket.AF_INET6, socket.AF_UNIX}


class Passed(NamedTuple):
    """By the names that the units give them (``FileDescriptorName=``), which are those of the settings."""

    listen: tuple[socket.socket, ...] = ()
    loopback: tuple[socket.socket, ...] = ()
    admin: tuple[socket.socket, ...] = ()  # over TCP
    admin_socket: tuple[socket.socket, ...] = ()


NONE_PASSED = Passed()


def passed(environ: Mapping[str, str], settings: Settings, first: int = FIRST) -> Passed:
    """Those of this process, ours from now on. Raises OSError where one fits no setting, or is open to more than its
    setting says."""
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not (count.isascii() and count.isdigit()):
        return NONE_PASSED
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, list[socket.socket]] = {name: [] for name in Passed._fields}
    with ExitStack() as stack:
        for place in range(int(count)):
            name = names[place] if place < len(names) else ""
            sock = stack.enter_context(_taken(first + place))
            _demand_stream(name, sock)
            name = "admin_socket" if name == "admin" and sock.family == socket.AF_UNIX else name
            if name not in found:
                raise _misfit(name, "fits no setting: FileDescriptorName= must be listen, loopback or admin")
            _demand_fit(name, sock, settings)
            found[name].append(sock)
        stack.pop_all()
    return Passed(**{name: tuple(each) for name, each in found.items()})


def _taken(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)
    sock = socket.socket(fileno=descriptor)
    sock.setblocking(False)
    return sock


def _demand_stream(name: str, sock: socket.socket) -> None:
    listens = sock.family in _FAMILIES and sock.type == socket.SOCK_STREAM
    if not listens or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise _misfit(name, "does not listen for streams")


def _demand_fit(name: str, sock: socket.socket, settings: Settings) -> None:
    """What is checked of an address in the configuration must hold for the one that really listens."""
    wanted: Address | None = getattr(settings, name) if name != "admin_socket" else None
    if sock.family == socket.AF_UNIX:
        if name != "admin_socket":
            raise _misfit(name, "is a Unix socket, which only admin can be")
        return
    host, port = sock.getsockname()[:2]
    if wanted is None:
        raise _misfit(name, f"listens on {Address(host, port)}, but the configuration has no {name}")
    if wanted.is_loopback and not Address(host, port).is_loopback:
        raise _misfit(name, f"listens on {Address(host, port)}, and {name}: {wanted} of the configuration on loopback")


def _misfit(name: str, why: str) -> OSError:
    return OSError(errno.EINVAL, f"the socket that systemd passes as {name or 'unnamed'!r} {why}")
