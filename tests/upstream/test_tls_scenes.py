"""Certificates are verified by both clients, and nothing falls back to less."""

from dataclasses import replace
from pathlib import Path

import pytest

from proxy.core.errors import UpstreamBroken, UpstreamUnreachable
from proxy.core.names import Digest, Tag
from proxy.tasks.jobs import Jobs
from proxy.upstream.network import Network
from proxy.upstream.registry import HttpRegistry
from proxy.upstream.settings import RegistrySettings
from tests.cast import FaultUpstream, roles
from tests.cast.authority import Authority
from tests.upstream.rig import HASTY, NAME, client_of, pulled

RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'
BYTES = bytes(range(256)) * 4000
TAG = Tag("1")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def refused(registry: HttpRegistry, up: FaultUpstream) -> None:
    with pytest.raises(UpstreamUnreachable, match="certificate"):
        await registry.manifest(NAME, TAG)
    with pytest.raises(UpstreamUnreachable, match="certificate"):
        await registry.blob(NAME, Digest.of(BYTES))
    assert up.ledger == []


async def test_an_authority_of_the_configuration_is_trusted(authority: Authority) -> None:
    async with FaultUpstream(tls=authority.server()) as up:
        up.manifest(NAME, "1", RAW)
        digest = up.blob(NAME, BYTES)
        async with client_of(up, ca_file=str(authority.ca_file)) as registry:
            assert (await registry.manifest(NAME, TAG)).raw == RAW
            for _ in range(2):
                assert await pulled(registry, digest) == BYTES
        assert up.connections == 2


async def test_an_unknown_authority_is_not(authority: Authority) -> None:
    async with FaultUpstream(tls=authority.server()) as up, client_of(up) as registry:
        await refused(registry, up)


@pytest.mark.parametrize(("address", "days"), [("127.0.0.2", 30), ("127.0.0.1", -1)], ids=["other host", "expired"])
async def test_a_certificate_that_does_not_fit_is_refused(authority: Authority, address: str, days: int) -> None:
    ca_file = str(authority.ca_file)
    async with FaultUpstream(tls=authority.server(address, days)) as up, client_of(up, ca_file=ca_file) as registry:
        await refused(registry, up)


async def test_insecure_trusts_the_registry_but_not_where_it_leads(authority: Authority) -> None:
    async with FaultUpstream(tls=authority.server()) as up, client_of(up, insecure=True) as registry:
        up.manifest(NAME, "1", RAW)
        assert (await registry.manifest(NAME, TAG)).raw == RAW
        up.always("manifest", roles.redirects(f"https://localhost:{up.port}/elsewhere"))
        with pytest.raises(UpstreamUnreachable, match="certificate"):
            await registry.manifest(NAME, TAG)


async def test_insecure_trusts_no_other_port_of_the_registry(authority: Authority) -> None:
    async with FaultUpstream(tls=authority.server()) as up, FaultUpstream(tls=authority.server()) as beside:
        up.always("manifest", roles.redirects(f"{beside.url}/x"))
        up.always("blob", roles.redirects(f"{beside.url}/x"))
        async with client_of(up, insecure=True) as registry:
            await refused(registry, beside)
        assert up.requests("manifest")
        assert up.requests("blob")


async def test_no_redirect_leads_from_https_to_http(authority: Authority) -> None:
    async with FaultUpstream(tls=authority.server()) as up, FaultUpstream() as plain:
        plain.page("/x", RAW)
        up.always("manifest", roles.redirects(f"{plain.url}/x"))
        up.always("blob", roles.redirects(f"{plain.url}/x"))
        async with client_of(up, ca_file=str(authority.ca_file)) as registry:
            with pytest.raises(UpstreamBroken, match="from https to http"):
                await registry.manifest(NAME, TAG)
            with pytest.raises(UpstreamBroken, match="from https to http"):
                await registry.blob(NAME, Digest.of(BYTES))
        assert plain.ledger == []


async def test_a_registry_that_speaks_no_tls_is_unreachable() -> None:
    """It waits for the end of a greeting that it takes for a request: the handshake stalls."""
    limits = replace(HASTY, connect=0.1, tries=1)
    async with FaultUpstream() as up, client_of(up, limits=limits, url=f"https://127.0.0.1:{up.port}") as registry:
        with pytest.raises(UpstreamUnreachable):
            await registry.manifest(NAME, TAG)
        with pytest.raises(UpstreamUnreachable):
            await registry.blob(NAME, Digest.of(BYTES))


async def test_a_ca_file_that_is_not_there_fails_at_the_start(jobs: Jobs) -> None:
    with pytest.raises(OSError):
        Network(RegistrySettings("up", "https://registry.test", ca_file="/nowhere/ca.pem"), jobs)
