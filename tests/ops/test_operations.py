"""Orders on the admin listener."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.core.errors import RequestFault, StoreFailed
from proxy.ops import operations
from proxy.ops.operations import Event, operation_routes

JSON = {"Content-Type": "application/json"}


async def count(request: Event) -> AsyncGenerator[Event, None]:
    if request.get("to") is None:
        raise RequestFault("to: how far?")
    for number in range(request["to"]):
        yield {"number": number}
        if number == request.get("break"):
            raise StoreFailed("the disk fails")


async def refuse(_: Event) -> AsyncGenerator[Event, None]:
    raise StoreFailed("the disk fails")
    yield {}


class Long:
    """An order that has nothing to say until it is told to end."""

    def __init__(self) -> None:
        self.end = asyncio.Event()
        self.ended = asyncio.Event()

    async def __call__(self, _: Event) -> AsyncGenerator[Event, None]:
        try:
            await self.end.wait()
            yield {"done": True}
        finally:
            self.ended.set()


@pytest.fixture
def long() -> Long:
    return Long()


@pytest.fixture
async def url(long: Long) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes(operation_routes({"count": count, "refuse": refuse, "long": long}))
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


async def test_a_long_order_says_that_it_is_still_at_work(
    url: str, long: Long, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "_SILENCE", 0.01)
    async with aiohttp.ClientSession() as session, session.post(f"{url}/long", data=b"", headers=JSON) as answer:
        assert [await answer.content.readline() for _ in range(3)] == [b"{}\n"] * 3
        long.end.set()
        rest = [json.loads(line) async for line in answer.content]
    assert [each for each in rest if each] == rest[-1:] == [{"done": True}]


async def test_an_order_ends_when_nobody_listens_any_more(
    url: str, long: Long, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "_SILENCE", 0.01)
    async with aiohttp.ClientSession() as session:
        answer = await session.post(f"{url}/long", data=b"", headers=JSON)
        assert await answer.content.readline() == b"{}\n"
        answer.close()
    async with asyncio.timeout(20):
        await long.ended.wait()


@pytest.mark.parametrize("body", [b"{}", b"[]", b"{", b'"to"', b"\xff"])
async def test_a_wrong_wish_is_refused_with_words(url: str, body: bytes) -> None:
    status, [said] = await ask(f"{url}/count", body)
    assert (status, list(said)) == (400, ["error"])


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_what_a_web_page_can_send_unasked_is_no_order(url: str, kind: str) -> None:
    status, _ = await ask(f"{url}/count", b'{"to": 2}', {"Content-Type": kind})
    assert status == 400
