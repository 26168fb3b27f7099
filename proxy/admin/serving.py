"""The admin listener at work: on its address, and on a Unix socket where one is wanted."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from proxy.admin.connections import AdminConnections
from proxy.admin.unix_socket import bound_socket


class AdminPlace(NamedTuple):
    """Where to listen. ``socket`` is None for no Unix socket; ``mode`` is that of its file."""

    host: str
    port: int
    socket: Path | None = None
    mode: int = 0o600


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
    if place.socket is not None:
        sock = stack.enter_context(bound_socket(place.socket, place.mode))
        stack.callback((await loop.create_unix_server(factory, sock=sock)).close)
    listener = await loop.create_server(factory, place.host, place.port)
    stack.callback(listener.close)
    host, port = listener.sockets[0].getsockname()[:2]
    return host, port
