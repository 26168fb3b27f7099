"""Operations on the admin listener: each is a POST of a JSON object, answered line by line as it is carried out. An
empty object says that it is still at work, so that nobody takes a long silence for an end.

A body is demanded to be ``application/json``: a web page that a browser shows cannot send that to another origin
without asking first, so no page can operate an Entrepot on the reader's machine.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic

from aiohttp import web
from pydantic import ValidationError

from proxy.admin.messages import L, Operation, Q, encode
from proxy.admin.pulse import with_pulse
from proxy.core.errors import Absent, Fault, RequestFault

_PATIENCE = 15.0  # seconds for the bytes of a request to come
_LINES = "application/x-ndjson"
SILENCE = 10.0  # seconds between two lines at most


@dataclass(frozen=True)
class Offer(Generic[Q, L]):
    """An operation and what carries it out: yields what it does while it does it. Raises RequestFault where the request
    is wrong, Absent where what it names is not there, any other Fault where it could not be carried out."""

    operation: Operation[Q, L]
    carry_out: Callable[[Q], AsyncGenerator[L, None]]


async def answer_operation(request: web.Request, offer: Offer[Any, Any], silence: float) -> web.StreamResponse:
    """The last line is ``{"error": …}`` where an operation broke off."""
    try:
        asked = await _asked(request, offer.operation)
        async with aclosing(offer.carry_out(asked)) as lines, aclosing(with_pulse(lines, silence)) as pulsing:
            return await _answer(request, pulsing)
    except RequestFault as fault:
        return web.json_response({"error": str(fault)}, status=400)
    except Absent as absent:
        return web.json_response({"error": str(absent)}, status=404)
    except Fault as fault:
        return web.json_response({"error": str(fault)}, status=503)


async def _asked(request: web.Request, operation: Operation[Q, L]) -> Q:
    if request.content_type != "application/json":
        raise RequestFault("send a JSON object, as Content-Type: application/json")
    if (request.content_length or 0) > operation.largest or (request.content_length is None and request.body_exists):
        raise RequestFault(f"more than {operation.largest} bytes, or of no length that is told")
    try:
        async with asyncio.timeout(_PATIENCE):
            body = await request.read()
    except TimeoutError:
        raise RequestFault(f"the body did not come within {_PATIENCE:.0f} s") from None
    try:
        return operation.request.model_validate_json(body or b"{}")
    except ValidationError as wrong:
        raise RequestFault(_first_fault(wrong)) from None


def _first_fault(wrong: ValidationError) -> str:
    fault = wrong.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, fault["loc"]))
    if fault["type"] == "json_invalid":
        return f"not JSON: {fault['msg'].removeprefix('Invalid JSON: ')}"
    if fault["type"] in ("model_type", "model_attributes_type"):
        return "not a JSON object"
    if fault["type"] == "missing":
        return f"{where}: is needed"
    if fault["type"] == "extra_forbidden":
        return f"{where[:64]!a}: there is no such word in this request"
    return f"{where}: {fault['msg'].removeprefix('Input ')}"


async def _answer(request: web.Request, lines: AsyncGenerator[Any, None]) -> web.StreamResponse:
    """The first line is waited for, so that a wrong request gets a status of its own."""
    line: Any = await anext(lines, _END)
    answer = web.StreamResponse(headers={"Content-Type": _LINES})
    await answer.prepare(request)
    try:
        while line is not _END:
            await answer.write((b"{}" if line is None else encode(line)) + b"\n")
            line = await anext(lines, _END)
    except Fault as fault:
        await answer.write(json.dumps({"error": str(fault)}).encode() + b"\n")
    await answer.write_eof()
    return answer


_END = object()
