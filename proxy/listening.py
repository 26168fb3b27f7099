"""Where the process listens: for pulls, for plain pulls beside them, for operators; by itself, or on sockets that are
passed to it."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from aiohttp import web

from proxy.activation import Passed
from proxy.admin.connections import AdminConnections
from proxy.admin.serving import AdminPlace, serve_admin
from proxy.composition import Entrance, Service
from proxy.config import Address, Settings
from proxy.core.authorities import format_authority

_BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Listening:
    """Where it really listens, ports chosen by the kernel included."""

    pull: str
    admin: str
    loopback: str | None = None  # plain pulls beside it


@dataclass(frozen=True, slots=True)
class Listeners:
    """``servers`` are those of pulls; ``ends`` are all IP addresses and ports."""

    servers: Sequence[asyncio.Server]
    at: Listening
    ends: Sequence[tuple[str, int]]

    def close(self) -> None:
        """No new connections for pulls."""
        _close(self.servers)


async def listen(
    settings: Settings,
    service: Service,
    admin: tuple[web.Application, AdminConnections],
    passed: Passed,
    stack: AsyncExitStack,
) -> Listeners:
    """For operators until ``stack`` ends, for pulls until they are closed. Raises OSError."""
    mode = 0o660 if settings.admin_socket_access == "group" else 0o600
    host, port = settings.admin.host, settings.admin.port
    place = AdminPlace(host, port, settings.admin_socket, mode, passed.admin, passed.admin_socket)
    operators = await serve_admin(stack, *admin, place)
    pulls = await _servers(service.entrance, settings.listen, passed.listen)
    beside: Sequence[asyncio.Server] = ()
    try:
        if settings.loopback is not None and service.loopback is not None:
            beside = await _servers(service.loopback, settings.loopback, passed.loopback)
    except BaseException:
        _close(pulls)
        raise
    plain = format_authority(*_end(beside[0])) if beside else None
    at = Listening(format_authority(*_end(pulls[0])), format_authority(*operators), plain)
    servers = [*pulls, *beside]
    return Listeners(servers, at, [*map(_end, servers), operators])


async def _servers(entrance: Entrance, address: Address, passed: Sequence[socket.socket]) -> list[asyncio.Server]:
    create = asyncio.get_running_loop().create_server
    if passed:
        return [await create(entrance, sock=sock, backlog=_BACKLOG) for sock in passed]
    return [await create(entrance, address.host, address.port, backlog=_BACKLOG)]


def _end(server: asyncio.Server) -> tuple[str, int]:
    host, port = server.sockets[0].getsockname()[:2]
    return host, port


def _close(servers: Sequence[asyncio.Server]) -> None:
    for server in servers:
        server.close()
