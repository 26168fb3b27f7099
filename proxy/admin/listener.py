"""The admin listener: health, readiness, metrics, status and operations. Never on the address of pulls."""

import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from proxy.admin.answering import SILENCE, Offer, answer_operation
from proxy.admin.connections import AdminConnections
from proxy.admin.contents import ContentDoor
from proxy.admin.gate import METRICS, AdminCaller, AdminDenied, AdminGate, AdminTokenNeeded, is_loopback
from proxy.admin.health import Health, Stage
from proxy.admin.metrics import Metrics
from proxy.admin.page.pages import StatusPages
from proxy.admin.report import Status
from proxy.core.doors import HostNames
from proxy.core.errors import HostUnknown

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class AdminApi:
    """What the listener shows and does. ``hosts`` are the names that it may be asked by; ``silence``: seconds between
    two lines of an operation at most."""

    hosts: HostNames
    gate: AdminGate
    health: Health
    metrics: Metrics
    status: Callable[[], Status]
    offers: Sequence[Offer[Any, Any]]
    contents: ContentDoor | None = None
    page: StatusPages | None = None
    silence: float = SILENCE


def admin_app(api: AdminApi, connections: AdminConnections) -> web.Application:
    """Its routes. All but health pass the gate; what that refuses is 403, or 401 where a token would help. Whoever asks
    by a foreign name gets 421."""

    @web.middleware
    async def received(request: web.Request, handler: Answer) -> web.StreamResponse:
        with connections.busy(request.transport):
            try:
                api.hosts.require(request.headers.get("Host", ""))
            except HostUnknown as unknown:
                return web.json_response({"error": str(unknown)}, status=421)
            return await handler(request)

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=api.metrics.render(), headers={"Content-Type": api.metrics.content_type})

    async def status(_: web.Request) -> web.Response:
        return web.Response(body=api.status().model_dump_json().encode(), content_type="application/json")

    def operate(offer: Offer[Any, Any]) -> Answer:
        return lambda request: answer_operation(request, offer, api.silence)

    # What a request may have is bounded by its operation.
    largest = max((each.operation.largest for each in api.offers), default=1)
    app = web.Application(middlewares=[received], client_max_size=largest)
    app.add_routes(
        [
            web.get("/healthz", _alive),
            web.get("/readyz", _readiness(api.health)),
            web.get("/metrics", _admitted(api.gate, METRICS, scrape)),
            web.get("/api/v1/status", _admitted(api.gate, "status", status)),
            *(
                web.post(f"/api/v1/{each.operation.name}", _admitted(api.gate, each.operation.name, operate(each)))
                for each in api.offers
            ),
        ]
    )
    if api.contents is not None:
        give, take = api.contents.give, api.contents.take
        place = "/api/v1/contents/{digest}"
        app.router.add_get(place, _admitted(api.gate, "contents", give), allow_head=False)
        app.router.add_put(place, _admitted(api.gate, "contents", take))
    if api.page is not None:
        app.add_routes(api.page.routes(partial(_shown, api.gate, api.page)))
    return app


async def _alive(_: web.Request) -> web.Response:
    return web.json_response({"status": "alive"})


def _readiness(health: Health) -> Answer:
    async def ready(_: web.Request) -> web.Response:
        if health.stage is not Stage.READY:
            return web.json_response({"status": "not ready", "why": health.stage.value}, status=503)
        degraded = health.degraded()
        if not degraded:
            return web.json_response({"status": "ready"})
        # What it concerns and no more: the words name files and hosts, and whoever asks this has passed no gate.
        return web.json_response({"status": "degraded", "concerns": sorted(degraded)})

    return ready


def _admitted(gate: AdminGate, operation: str, answer: Answer) -> Answer:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            await gate.admit(_caller(request), operation)
        except AdminTokenNeeded as needed:
            challenge = {"WWW-Authenticate": 'Bearer realm="entrepot admin"'}
            return web.json_response({"error": str(needed)}, status=401, headers=challenge)
        except AdminDenied as denied:
            return web.json_response({"error": str(denied)}, status=403)
        return await answer(request)

    return handle


def _shown(gate: AdminGate, page: StatusPages, answer: Answer) -> Answer:
    """As ``_admitted``, for a person at a browser: that asks for the token as for a password."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            await gate.admit(_caller(request), "status")
        except AdminTokenNeeded as needed:
            refused = await page.refused(401, "A token is needed", f"{needed}. Any user name will do.")
            refused.headers["WWW-Authenticate"] = 'Basic realm="entrepot admin", charset="UTF-8"'
            return refused
        except AdminDenied as denied:
            return await page.refused(403, "Not for everybody", str(denied))
        return await answer(request)

    return handle


def _caller(request: web.Request) -> AdminCaller:
    headers = request.headers
    return AdminCaller(
        request.remote or "",
        headers.get("Host", ""),
        headers.get("Origin", ""),
        headers.get("Sec-Fetch-Site", ""),
        _is_here(request),
        headers.get("Authorization", ""),
    )


def _is_here(request: web.Request) -> bool:
    """Of a connection that is gone nobody knows it, and what was handed on is another's."""
    sock = request.transport.get_extra_info("socket") if request.transport is not None else None
    if sock is None or any(name in request.headers for name in _HANDED_ON):
        return False
    return bool(sock.family == socket.AF_UNIX) or is_loopback(request.remote or "")


_HANDED_ON = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
"""Headers by which a proxy on this machine says that it asks for somebody else."""
