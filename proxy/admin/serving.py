"""The admin listener at work: on its address, and on a Unix socket where one is wanted."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from proxy.admin.connections import AdminConnections
from proxy.admin.unix_socket import bound_socket


class AdminPlace(NamedTuple):
    """Where to listen. ``path`` is None for no Unix socket; ``mode`` is that of its file. Sockets that are open
    already, over TCP and Unix ones, stand in for both."""

    host: str
    port: int
    path: Path | None = None
    mode: int = 0o600
    open: Sequence[socket.socket] = ()
    open_unix: Sequence[socket.socket] = ()


async def serve_admin(
    stack: AsyncExitStack, app: web.Application, connections: AdminConnections, place: AdminPlace
) -> tuple[str, int]:
    """Until ``stack`` ends. Returns the host and port where it really listens. Raises OSError."""
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=75, shutdown_timeout=1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    assert runner.server is not None
    factory = connections.before(runner.server)
    loop = asyncio.get_running_loop()
    for sock in place.open_unix or _bound(stack, place):
        stack.callback((await loop.create_unix_server(factory, sock=sock)).close)
    listeners = [await loop.create_server(factory, sock=sock) for sock in place.open]
    for listener in listeners or [await loop.create_server(factory, place.host, place.port)]:
        stack.callback(listener.close)
        host, port = listener.sockets[0].getsockname()[:2]
    return host, port


def _bound(stack: AsyncExitStack, place: AdminPlace) -> Sequence[socket.socket]:
    return [stack.enter_context(bound_socket(place.path, place.mode))] if place.path is not None else []
