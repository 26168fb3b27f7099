"""Whom the pull listener lets in: by the name they ask by, by where they come from, by whom they speak for."""

import asyncio
import json
from ipaddress import ip_network

import pytest

from proxy.core.doors import HostNames, PlaceRules
from proxy.front.connections import ConnectionRules
from tests.cast import FaultUpstream
from tests.scenarios.client import Client, Reply
from tests.scenarios.conftest import under
from tests.scenarios.house import APP, NAME, House, blob_path

HERE = HostNames.of("127.0.0.1", ("mirror.example.com",), any_address=False)
TRUSTED = (ip_network("127.0.0.1"),)
FOUR = b"PROXY TCP4 %b 192.0.2.1 56324 5000\r\n"
REQUEST = b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n"


async def asked_as(client: Client, path: str, host: str) -> Reply:
    await client.ask(path, {"Host": host})
    return await client.reply()


@under(hosts=HERE)
async def test_a_foreign_name_gets_nothing_even_of_what_is_in_memory(house: House, upstream: FaultUpstream) -> None:
    digest = upstream.blob(APP, b"content")
    path = blob_path(digest)
    await house.get(path)
    await house.quiet()
    async with await house.connect() as client:
        for _ in range(3):
            for host in ("localhost", f"127.0.0.1:{house.port}", "mirror.example.com", "[::1]:5000"):
                assert (await asked_as(client, path, host)).body == b"content"
            reply = await asked_as(client, path, f"evil.example:{house.port}")
            assert reply.status == 421
            [error] = json.loads(reply.body)["errors"]
            assert "'host_names'" in error["message"]
    assert house.outcomes()["hit"] == 12


async def test_where_anybody_may_ask_any_name_will_do(house: House) -> None:
    async with await house.connect() as client:
        assert (await asked_as(client, "/v2/", "whatever.example:80")).status == 200


async def test_what_goes_wrong_is_told_with_the_id_under_which_the_log_has_it(house: House) -> None:
    for path in (f"/v2/{NAME}/{APP}/manifests/none", "/nothing", "/v2/strange.example/a/manifests/b"):
        house.lines.clear()
        reply = await house.get(path)
        [error] = json.loads(reply.body)["errors"]
        request = error["detail"]["request"]
        (line,) = [line for line in house.lines if line.fault]
        assert line.fields()["request"] == request
        assert reply.reason.endswith(f"(request {request})")
        assert request not in error["message"], "answers that are alike say the same"


async def test_what_goes_well_has_no_id(house: House) -> None:
    assert (await house.get("/v2/")).status == 200
    assert {line.request for line in house.lines} == {""}


# ---------------------------------------------------------------- load balancers


@under(trusted_proxies=TRUSTED)
async def test_the_client_is_whom_a_trusted_proxy_names(house: House) -> None:
    for piece in (1, 7, 1000):
        async with await house.connect() as client:
            octets = FOUR % b"198.51.100.9" + REQUEST
            for start in range(0, len(octets), piece):
                await client.send(octets[start : start + piece])
                await asyncio.sleep(0)
            assert (await client.reply()).status == 200
            await client.still_framed()
    assert {line.client for line in house.lines} == {"198.51.100.9"}
    await house.connected(0)


@under(trusted_proxies=TRUSTED, connections=ConnectionRules(PlaceRules(4096, 2)))
async def test_places_are_the_named_clients(house: House) -> None:
    clients = []
    for number in range(6):
        client = await house.connect()
        await client.send(FOUR % f"198.51.100.{number // 2}".encode() + REQUEST)
        assert (await client.reply()).status == 200
        clients.append(client)
    async with await house.connect() as client:
        await client.send(FOUR % b"198.51.100.0" + REQUEST)
        assert (await client.reply()).status == 503
    for client in clients:
        client.leave()
    await house.connected(0)


@under(trusted_proxies=TRUSTED)
@pytest.mark.parametrize(
    "octets",
    [REQUEST, b"PROXY TCP4 evil 192.0.2.1 1 2\r\n" + REQUEST, b"\x16\x03\x01\x02\x00"],
    ids=["no header", "a wrong header", "TLS"],
)
async def test_a_trusted_proxy_that_names_nobody_is_refused(house: House, octets: bytes) -> None:
    async with await house.connect() as client:
        await client.send(octets)
        assert await client.ended_without_a_word()
    assert not house.lines
    await house.connected(0)


@under(trusted_proxies=TRUSTED)
async def test_a_health_check_of_the_proxy_is_its_own(house: House) -> None:
    async with await house.connect() as client:
        await client.send(b"PROXY UNKNOWN\r\n" + REQUEST)
        assert (await client.reply()).status == 200
    assert {line.client for line in house.lines} == {"127.0.0.1"}


@under(trusted_proxies=TRUSTED, connections=ConnectionRules(header_timeout=0.2))
async def test_a_header_that_does_not_come_is_not_waited_for_for_long(house: House) -> None:
    async with await house.connect() as client:
        await client.send(b"PROXY TCP4 ")
        await house.connected(1)
        house.clock.advance(1)
        assert await client.ended_without_a_word()
    assert not house.front.connections


@under(trusted_proxies=(ip_network("192.0.2.0/24"),))
@pytest.mark.parametrize("header", [FOUR % b"198.51.100.9", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"], ids=["1", "2"])
async def test_nobody_else_speaks_for_anybody(house: House, header: bytes) -> None:
    async with await house.connect() as client:
        await client.send(header + REQUEST)
        assert (await client.reply()).status == 400
    async with await house.connect() as client:
        await client.still_framed()
    assert {line.client for line in house.lines} == {"127.0.0.1"}
