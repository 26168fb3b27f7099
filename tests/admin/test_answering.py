"""Operations on the admin listener."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from pydantic import TypeAdapter

from proxy.admin.answering import Offer
from proxy.admin.health import Health
from proxy.admin.listener import AdminApi
from proxy.admin.messages import AdminRequest, Message, NothingMore, Operation
from proxy.admin.metrics import Metrics
from proxy.admin.report import Status
from proxy.core.errors import RequestFault, StoreFailed
from tests.admin.doors import GATE, HERE, served

JSON = {"Content-Type": "application/json"}


class CountRequest(AdminRequest):
    to: int
    breaks: int = -1


class Number(Message):
    number: int


async def count(request: CountRequest) -> AsyncGenerator[Number, None]:
    if request.to > 100:
        raise RequestFault("to: too far")
    for number in range(request.to):
        yield Number(number=number)
        if number == request.breaks:
            raise StoreFailed("the disk fails")


async def refuse(_: NothingMore) -> AsyncGenerator[Number, None]:
    raise StoreFailed("the disk fails")
    yield Number(number=0)


class Long:
    """An operation that has nothing to say until it is told to end."""

    def __init__(self) -> None:
        self.end = asyncio.Event()
        self.ended = asyncio.Event()

    async def __call__(self, _: NothingMore) -> AsyncGenerator[Number, None]:
        try:
            await self.end.wait()
            yield Number(number=1)
        finally:
            self.ended.set()


@pytest.fixture
def long() -> Long:
    return Long()


def no_status() -> Status:
    raise NotImplementedError


@pytest.fixture
async def url(long: Long) -> AsyncIterator[str]:
    lines = TypeAdapter(Number)
    offers: list[Offer[Any, Any]] = [
        Offer(Operation("count", CountRequest, lines), count),
        Offer(Operation("refuse", NothingMore, lines), refuse),
        Offer(Operation("long", NothingMore, lines), long),
    ]
    app = served(AdminApi(HERE, GATE, Health([]), Metrics([]), no_status, offers, silence=0.01))
    async with TestServer(app) as server:
        yield str(server.make_url("/api/v1"))


async def ask(url: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, list[dict[str, Any]]]:
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers or JSON) as answer:
        return answer.status, [line for line in map(json.loads, (await answer.read()).splitlines()) if line]


async def test_an_operation_is_answered_line_by_line(url: str) -> None:
    assert await ask(f"{url}/count", b'{"to": 2}') == (200, [{"number": 0}, {"number": 1}])


async def test_a_failure_on_the_way_is_the_last_line(url: str) -> None:
    assert await ask(f"{url}/count", b'{"to": 9, "breaks": 0}') == (200, [{"number": 0}, {"error": "the disk fails"}])


async def test_a_failure_before_the_first_line_has_a_status(url: str) -> None:
    assert await ask(f"{url}/refuse", b"") == (503, [{"error": "the disk fails"}])


async def test_a_long_operation_says_that_it_is_still_at_work(url: str, long: Long) -> None:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/long", data=b"", headers=JSON) as answer:
        assert [await answer.content.readline() for _ in range(3)] == [b"{}\n"] * 3
        long.end.set()
        rest = [json.loads(line) async for line in answer.content]
    assert [each for each in rest if each] == rest[-1:] == [{"number": 1}]


async def test_an_operation_ends_when_nobody_listens_any_more(url: str, long: Long) -> None:
    async with aiohttp.ClientSession() as session:
        answer = await session.post(f"{url}/long", data=b"", headers=JSON)
        assert await answer.content.readline() == b"{}\n"
        answer.close()
    async with asyncio.timeout(20):
        await long.ended.wait()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{}", "to: is needed"),
        (b"[]", "not a JSON object"),
        (b"{", "not JSON"),
        (b'"to"', "not a JSON object"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"to": "2"}', "to: should be a valid integer"),
        (b'{"to": 2, "preview": true}', "'preview': there is no such word"),
        (b'{"to": 200}', "to: too far"),
    ],
    ids=["nothing", "a list", "broken", "a word", "bytes", "deep", "another type", "a word too many", "by itself"],
)
async def test_a_wrong_request_is_refused_with_words(url: str, body: bytes, says: str) -> None:
    status, [said] = await ask(f"{url}/count", body)
    assert status == 400
    assert said["error"].startswith(says)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_what_a_web_page_can_send_unasked_is_no_operation(url: str, kind: str) -> None:
    status, _ = await ask(f"{url}/count", b'{"to": 2}', {"Content-Type": kind})
    assert status == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=["origin", "fetch metadata"],
)
async def test_pages_of_other_sites_do_not_pass_the_gate(url: str, headers: dict[str, str]) -> None:
    status, [said] = await ask(f"{url}/count", b'{"to": 2}', {**JSON, **headers})
    assert (status, list(said)) == (403, ["error"])
