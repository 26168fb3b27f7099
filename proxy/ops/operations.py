"""Operations on the admin listener: each is a POST of a JSON object, answered line by line as it is carried out. An
empty object says that it is still at work, so that nobody takes a long silence for an end.

A body is demanded to be ``application/json``: a web page that a browser shows cannot send that to another origin
without asking first, so no page can operate an Entrepot on the reader's machine.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from aiohttp import web

from proxy.core.errors import Fault, RequestFault

log = logging.getLogger("entrepot.operations")

Event = dict[str, Any]
AdminOperation = Callable[[Event], AsyncGenerator[Event, None]]
"""Yields what it does while it does it. Raises RequestFault where the request is wrong."""

_LARGEST = 1 << 20  # bytes of a request
_LINES = "application/x-ndjson"
_SILENCE = 10.0  # seconds between two lines at most


def operation_routes(operations: Mapping[str, AdminOperation]) -> list[web.RouteDef]:
    """``POST /api/v1/NAME`` for each; the last line is ``{"error": …}`` where an operation could not be carried out."""
    return [web.post(f"/api/v1/{name}", _handler(operation)) for name, operation in operations.items()]


def _handler(operation: AdminOperation) -> Callable[[web.Request], Any]:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            wanted = await _wanted(request)
            async with aclosing(operation(wanted)) as events, aclosing(_never_silent(events)) as lines:
                return await _answer(request, lines)
        except RequestFault as fault:
            return web.json_response({"error": str(fault)}, status=400)
        except Fault as fault:
            return web.json_response({"error": str(fault)}, status=503)

    return handle


async def _wanted(request: web.Request) -> Event:
    if request.content_type != "application/json":
        raise RequestFault("send a JSON object, as Content-Type: application/json")
    if (request.content_length or 0) > _LARGEST:
        raise RequestFault(f"more than {_LARGEST} bytes")
    try:
        wanted = json.loads(await request.text() or "{}")
    except (ValueError, RecursionError) as cause:
        raise RequestFault(f"not JSON: {cause}") from None
    if not isinstance(wanted, dict):
        raise RequestFault("not a JSON object")
    return wanted


async def _never_silent(events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
    coming = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            if not (await asyncio.wait([coming], timeout=_SILENCE))[0]:
                yield {}
                continue
            event = coming.result()
            if event is None:
                return
            yield event
            coming = asyncio.ensure_future(anext(events, None))
    finally:
        coming.cancel()
        await asyncio.wait([coming])


async def _answer(request: web.Request, events: AsyncGenerator[Event, None]) -> web.StreamResponse:
    """The first line is waited for, so that a wrong request gets a status of its own."""
    event = await anext(events, None)
    answer = web.StreamResponse(headers={"Content-Type": _LINES})
    await answer.prepare(request)
    try:
        while event is not None:
            await answer.write(json.dumps(event).encode() + b"\n")
            event = await anext(events, None)
    except Fault as fault:
        await answer.write(json.dumps({"error": str(fault)}).encode() + b"\n")
    await answer.write_eof()
    return answer
