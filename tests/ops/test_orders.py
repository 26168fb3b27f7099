"""Orders on the admin listener."""

import json
from collections.abc import AsyncGenerator, AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.core.errors import RequestFault, StoreFailed
from proxy.ops.orders import Event, order_routes

JSON = {"Content-Type": "application/json"}


async def count(wish: Event) -> AsyncGenerator[Event, None]:
    if wish.get("to") is None:
        raise RequestFault("to: how far?")
    for number in range(wish["to"]):
        yield {"number": number}
        if number == wish.get("break"):
            raise StoreFailed("the disk fails")


async def refuse(_: Event) -> AsyncGenerator[Event, None]:
    raise StoreFailed("the disk fails")
    yield {}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes(order_routes({"count": count, "refuse": refuse}))
    async with TestServer(app) as server:
        yield str(server.make_url("/api/v1"))


async def ask(url: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, list[Event]]:
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers or JSON) as answer:
        return answer.status, [json.loads(line) for line in (await answer.read()).splitlines()]


async def test_an_order_is_answered_line_by_line(url: str) -> None:
    assert await ask(f"{url}/count", b'{"to": 2}') == (200, [{"number": 0}, {"number": 1}])


async def test_a_failure_on_the_way_is_the_last_line(url: str) -> None:
    assert await ask(f"{url}/count", b'{"to": 9, "break": 0}') == (200, [{"number": 0}, {"error": "the disk fails"}])


async def test_a_failure_before_the_first_line_has_a_status(url: str) -> None:
    assert await ask(f"{url}/refuse", b"") == (503, [{"error": "the disk fails"}])


@pytest.mark.parametrize("body", [b"{}", b"[]", b"{", b'"to"', b"\xff"])
async def test_a_wrong_wish_is_refused_with_words(url: str, body: bytes) -> None:
    status, [said] = await ask(f"{url}/count", body)
    assert (status, list(said)) == (400, ["error"])


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_what_a_web_page_can_send_unasked_is_no_order(url: str, kind: str) -> None:
    status, _ = await ask(f"{url}/count", b'{"to": 2}', {"Content-Type": kind})
    assert status == 400
