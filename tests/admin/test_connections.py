"""The admin listener's own doors: who is let in by name, and how many, and for how long."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import NamedTuple

import pytest
from pydantic import TypeAdapter

from proxy.admin.answering import Offer
from proxy.admin.connections import AdminConnectionRules, AdminConnections
from proxy.admin.health import Health
from proxy.admin.listener import AdminApi, admin_app
from proxy.admin.messages import NothingMore, Operation
from proxy.admin.metrics import Metrics
from proxy.admin.serving import AdminPlace, serve_admin
from tests.admin.doors import GATE, HERE
from tests.admin.test_answering import Long, Number, no_status
from tests.cast import ManualClock
from tests.scenarios.client import Client, Reply

MOST = 4
RULES = AdminConnectionRules(MOST, header_timeout=15.0, idle_timeout=75.0)


class Door(NamedTuple):
    port: int
    connections: AdminConnections
    clock: ManualClock
    long: Long

    async def held(self, count: int) -> None:
        """Until so many connections are."""
        async with asyncio.timeout(20):
            while len(self.connections) != count:
                await asyncio.sleep(0.005)

    async def at_work(self) -> Client:
        """A client whose operation has begun, and does not end."""
        client = await Client.connect(self.port)
        await client.ask("/api/v1/long", {"Content-Type": "application/json"}, "POST")
        await client.head()
        return client


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    clock, long = ManualClock(1000.0), Long()
    connections = AdminConnections(RULES, clock)
    offers = [Offer(Operation("long", NothingMore, TypeAdapter(Number)), long)]
    api = AdminApi(HERE, GATE, Health([]), Metrics([]), no_status, offers, silence=0.01)
    async with AsyncExitStack() as stack:
        app = admin_app(api, connections)
        _, port = await serve_admin(stack, app, connections, AdminPlace("127.0.0.1", 0))
        yield Door(port, connections, clock, long)
        long.end.set()


async def asked(client: Client, path: str, **headers: str) -> Reply:
    await client.ask(path, headers)
    return await client.reply()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/api/v1/status", "/nothing"])
async def test_a_foreign_name_gets_nothing(door: Door, path: str) -> None:
    async with await Client.connect(door.port) as client:
        reply = await asked(client, path, Host=f"evil.example:{door.port}")
        assert reply.status == 421
        assert "'host_names'" in json.loads(reply.body)["error"]
        assert (await asked(client, "/healthz", Host=f"127.0.0.1:{door.port}")).status == 200


async def test_who_is_silent_makes_room_for_who_comes(door: Door) -> None:
    first = await Client.connect(door.port)
    await door.held(1)
    door.clock.advance(1)
    others = [await Client.connect(door.port) for _ in range(MOST - 1)]
    await door.held(MOST)
    async with await Client.connect(door.port) as client:
        assert (await asked(client, "/healthz")).status == 200
        assert await first.ended_without_a_word()
        assert len(door.connections) == MOST
    for other in (first, *others):
        other.leave()
    await door.held(0)


async def test_who_is_at_work_does_not(door: Door) -> None:
    busy = [await door.at_work() for _ in range(MOST)]
    async with await Client.connect(door.port) as refused:
        assert await refused.ended_without_a_word()
    door.clock.advance(1000)
    door.connections.sweep()
    assert len(door.connections) == MOST
    for client in busy:
        client.leave()
    await door.held(0)


@pytest.mark.parametrize("octets", [b"", b"GET /healthz HTTP/1.1\r\nX: "], ids=["silent", "half a request"])
async def test_a_first_request_is_not_waited_for_for_long(door: Door, octets: bytes) -> None:
    async with await Client.connect(door.port) as client:
        await client.send(octets)
        await door.held(1)
        door.clock.advance(RULES.header_timeout - 1)
        door.connections.sweep()
        assert len(door.connections) == 1
        door.clock.advance(2)
        door.connections.sweep()
        assert await client.ended_without_a_word()
    assert len(door.connections) == 0


async def test_nor_is_the_next(door: Door) -> None:
    async with await Client.connect(door.port) as client:
        assert (await asked(client, "/healthz")).status == 200
        door.clock.advance(RULES.idle_timeout - 1)
        door.connections.sweep()
        assert (await asked(client, "/healthz")).status == 200
        door.clock.advance(RULES.idle_timeout + 1)
        door.connections.sweep()
        assert await client.ended_without_a_word()
