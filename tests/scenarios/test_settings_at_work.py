"""Settings, from the file to what the running process does."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.core.names import Digest
from tests.cast import FaultUpstream, ForwardProxy, roles
from tests.cast.authority import Authority
from tests.scenarios.client import Cut
from tests.scenarios.house import APP, NAME, blob_path, manifest_path
from tests.scenarios.process import Site
from tests.scenarios.said import marked

RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'
BYTES = bytes(range(256)) * 40_000


@asynccontextmanager
async def running(folder: Path, url: str, own: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[Site]:
    site = Site(folder, url, {"upstreams": {NAME: {"url": url, **(own or {})}}, **settings})
    try:
        await site.start()
        yield site
        await site.stop()
    finally:
        await site.dispose()


@pytest.mark.parametrize(("access", "statuses"), [("all", [200, 200, 404]), ("errors", [404]), ("none", [])])
async def test_which_requests_have_a_line_says_log_access_alone(
    tmp_path: Path, access: str, statuses: list[int]
) -> None:
    """Whatever the level is."""
    log = {"access": access, "level": "error", "format": "json"}
    async with FaultUpstream() as up:
        up.manifest(APP, "1", RAW)
        async with running(tmp_path, up.url, log=log) as site:
            for tag in ("1", "1", "2"):
                await site.get(manifest_path(tag))
        lines = [json.loads(line) for line in site.output.read_text().splitlines() if line.startswith("{")]
        assert [line["status"] for line in lines if line["message"] == "request"] == statuses


async def test_a_registry_that_leads_back_to_us_is_told_at_once(tmp_path: Path) -> None:
    digest = Digest.of(BYTES)
    async with FaultUpstream() as up, running(tmp_path, up.url, {"insecure": True}) as site:
        for port in (site.port, site.admin):
            up.always("blob", roles.redirects(f"http://localhost:{port}{blob_path(digest)}"))
            reply = await site.get(blob_path(digest))
            assert reply.status == 502
        await site.stop()  # what it has to say is out then
        output = site.output.read_text()
        assert output.count("is Entrepot itself") >= 2
        assert output.count(blob_path(digest)) == 2  # one line for each pull, and none of our own
        assert f"the certificate of {up.url} is not verified" in output
        assert len(up.requests("blob")) == 2


async def test_a_pull_that_is_cut_is_an_error(tmp_path: Path) -> None:
    async with FaultUpstream() as up:
        digest = Digest.of(BYTES)
        up.page(f"/v2/{APP}/blobs/{digest}", BYTES[:-1] + b"?")
        log, transfers = {"access": "errors", "format": "json"}, {"patience": "0s"}
        async with running(tmp_path, up.url, log=log, transfers=transfers) as site:
            with pytest.raises(Cut):
                await site.get(blob_path(digest))
        lines = [json.loads(line) for line in site.output.read_text().splitlines() if line.startswith("{")]
        (line,) = [line for line in lines if line["message"] == "request"]
        assert (line["status"], bool(line["fault"])) == (200, True)


@pytest.mark.parametrize("of_one", [True, False])
async def test_pulls_go_by_the_proxy_of_the_configuration(tmp_path: Path, of_one: bool) -> None:
    """https within a proxy of https, whose authority signs both; user and password from files."""
    authority = Authority(tmp_path)
    (tmp_path / "password").write_text("s3:cret\n")
    tls = authority.server("registry.test")
    async with FaultUpstream(tls=tls) as up, ForwardProxy(user=("me", "s3:cret"), tls=authority.server()) as proxy:
        proxy.places["registry.test:443"] = up.port
        up.manifest(APP, "1", RAW)
        digest = up.blob(APP, BYTES)
        up.guard().realm = "https://registry.test/token"
        egress = {
            "proxy": proxy.url,
            "username": "me",
            "password_file": str(tmp_path / "password"),
            "ca_file": str(authority.ca_file),
        }
        own, shared = ({"egress": egress}, {}) if of_one else ({}, {"egress": egress})
        async with running(tmp_path / "site", "https://registry.test", own, **shared) as site:
            assert (await site.get(manifest_path("1"))).body == RAW
            assert (await site.get(blob_path(digest))).body == BYTES
        assert "s3:cret" not in site.output.read_text()
        assert set(proxy.targets) == {"registry.test:443"}
        assert all(asked.let_through for asked in proxy.asked)


async def test_a_proxy_that_is_away_is_said_and_what_is_held_is_served(tmp_path: Path) -> None:
    async with FaultUpstream() as up, ForwardProxy() as proxy:
        proxy.places["registry.test:80"] = up.port
        up.manifest(APP, "1", RAW)
        own, tags = {"egress": {"proxy": proxy.url}}, {"ttl": "0s"}
        async with running(tmp_path, "http://registry.test", own, tags=tags) as site:
            assert (await site.get(manifest_path("1"))).status == 200
            await proxy.vanish()
            held, unheld = await site.get(manifest_path("1")), await site.get(manifest_path("2"))
            assert (held.status, held.body) == (200, RAW)
            assert unheld.status in (502, 503, 504)
            assert proxy.url.encode() not in unheld.body
            await marked(site.output, site.get)
            assert f"the proxy {proxy.url}" in site.output.read_text()


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("secure", [False, True])
async def test_all_of_it_works_over_ipv6(tmp_path: Path, secure: bool) -> None:
    authority = Authority(tmp_path)
    async with FaultUpstream(host="::1", tls=authority.server("::1") if secure else None) as up:
        up.manifest(APP, "1", RAW)
        digest = up.blob(APP, BYTES)
        up.guard()
        own = {"ca_file": str(authority.ca_file)} if secure else {}
        addresses = {"listen": "[::1]:0", "admin": "[::1]:0"}
        async with running(tmp_path / "site", up.url, own, **addresses) as site, aiohttp.ClientSession() as session:
            for path, body in ((manifest_path("1"), RAW), (blob_path(digest), BYTES)):
                async with session.get(f"http://[::1]:{site.port}{path}") as answer:
                    assert (answer.status, await answer.read()) == (200, body)
            async with session.get(f"http://[::1]:{site.admin}/readyz") as answer:
                assert answer.status == 200
        assert {seen.headers["host"] for seen in up.ledger} == {f"[::1]:{up.port}"}
