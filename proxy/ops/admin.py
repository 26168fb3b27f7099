"""The admin listener: health, readiness, metrics and the JSON API. Never on the address that clients pull from."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from proxy.ops.metrics import Metrics
from proxy.ops.operations import AdminOperation, operation_routes


@dataclass(slots=True)
class Readiness:
    """Ready from the first moment it listens until it is told to stop."""

    ready: bool = False
    degraded: Callable[[], str] = field(default=lambda: "")  # why, empty when all is well


Answer = Callable[[web.Request], Awaitable[Any]]


def admin_app(
    health: Readiness, metrics: Metrics, status: Callable[[], dict[str, Any]], operations: Mapping[str, AdminOperation]
) -> web.Application:
    """Routes of the admin listener."""

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readyz(_: web.Request) -> web.Response:
        if not health.ready:
            return web.json_response({"status": "not ready"}, status=503)
        why = health.degraded()
        return web.json_response({"status": "degraded", "why": why} if why else {"status": "ready"})

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": metrics.content_type})

    async def show_status(_: web.Request) -> web.Response:
        return web.json_response(status())

    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", scrape),
            web.get("/api/v1/status", show_status),
            *operation_routes(operations),
        ]
    )
    return app
