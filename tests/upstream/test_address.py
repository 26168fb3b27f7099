"""Where a registry may lead us: the internet, what the configuration lists, its own machine if that is ours; never to
metadata services, and never back to ourselves."""

import socket

import pytest

from proxy.core.errors import UpstreamBroken
from proxy.core.names import Digest, Tag
from proxy.upstream.address import AddressForbidden, AddressPolicy, Ourselves
from proxy.upstream.message import HostClass
from proxy.upstream.settings import RegistrySettings
from proxy.upstream.target import parse_target
from tests.cast import FaultUpstream, roles
from tests.upstream.rig import NAME, client_of, pulled

RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'
BYTES = bytes(range(256)) * 400


@pytest.mark.parametrize(
    ("home", "away", "admitted"),
    [
        ("8.8.8.8", "9.9.9.9", True),
        ("8.8.8.8", "10.0.0.1", False),
        ("8.8.8.8", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "::1", True),
        ("127.0.0.1", "10.0.0.1", False),
        ("10.0.0.1", "10.9.9.9", False),
        ("10.0.0.1", "10.0.0.1", False),
        ("10.0.0.1", "127.0.0.1", False),
        ("10.0.0.1", "8.8.8.8", True),
        ("127.0.0.1", "169.254.169.254", False),
    ],
)
def test_a_registry_leads_only_to_the_world_or_about_this_machine(home: str, away: str, admitted: bool) -> None:
    addresses = AddressPolicy()
    addresses.admit_home(home, 443)
    addresses.admit_listed("10.9.9.9", 443)
    if admitted:
        addresses.admit_away(away, 443)
    else:
        with pytest.raises(AddressForbidden):
            addresses.admit_away(away, 443)


def test_not_even_a_configured_host_may_be_the_metadata_service() -> None:
    for address in ("169.254.169.254", "fd00:ec2::254", "168.63.129.16"):
        with pytest.raises(AddressForbidden):
            AddressPolicy().admit_home(address, 80)
        with pytest.raises(AddressForbidden):
            AddressPolicy().admit_listed(address, 80)


@pytest.mark.parametrize(
    ("url", "onward", "redirects", "expected"),
    [
        ("https://reg.test", "https://reg.test/x", (), HostClass.HOME),
        ("http://reg.test:5000", "https://reg.test:5000/x", (), HostClass.HOME),
        ("https://reg.test", "https://reg.test:8443/x", (), HostClass.AWAY),
        ("https://reg.test:8443", "https://reg.test/x", (), HostClass.AWAY),
        ("https://reg.test", "https://minio.test/x", ("minio.test",), HostClass.LISTED),
        ("http://reg.test", "http://minio.test/x", ("minio.test",), HostClass.LISTED),
        ("https://reg.test", "https://minio.test:9000/x", ("minio.test",), HostClass.AWAY),
        ("https://reg.test", "https://minio.test:9000/x", ("minio.test:9000",), HostClass.LISTED),
        ("https://reg.test", "https://minio.test/x", ("minio.test:9000",), HostClass.AWAY),
        ("https://reg.test", "https://a.minio.test/x", ("minio.test",), HostClass.AWAY),
        ("https://reg.test", "https://[fd12::1]:9000/x", ("[fd12::1]:9000",), HostClass.LISTED),
        ("https://reg.test", "https://reg.test:8443/x", ("reg.test:8443",), HostClass.LISTED),
    ],
)
def test_a_host_is_what_url_and_redirects_name_port_and_all(
    url: str, onward: str, redirects: tuple[str, ...], expected: HostClass
) -> None:
    settings = RegistrySettings("up", url, redirects=redirects)
    assert settings.host_class(parse_target(onward).origin) is expected


async def test_ourselves_are_told_by_address_and_port() -> None:
    ourselves = Ourselves()
    assert not ourselves.are_at("127.0.0.1", 5000)
    ourselves.listen_at("127.0.0.1", 5000)
    ourselves.listen_at("0.0.0.0", 5001)
    assert ourselves.are_at("127.0.0.1", 5000)
    assert ourselves.are_at("::ffff:127.0.0.1", 5000)
    assert not ourselves.are_at("127.0.0.2", 5000)
    assert not ourselves.are_at("127.0.0.1", 5002)
    assert ourselves.are_at("127.0.0.2", 5001)
    assert not ourselves.are_at("8.8.8.8", 5001)
    for found in {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), 5001, socket.AF_INET)}:
        assert ourselves.are_at(str(found), 5001)


@pytest.mark.parametrize("kind", ["manifest", "blob"])
async def test_where_it_leads_back_to_us_nothing_is_asked(kind: str) -> None:
    async with FaultUpstream() as up, FaultUpstream() as we:
        ourselves = Ourselves()
        ourselves.listen_at("127.0.0.1", we.port)
        up.always(kind, roles.redirects(f"{we.url}/v2/up/{NAME}/x"))
        async with client_of(up, ourselves=ourselves) as registry:
            asked = registry.manifest(NAME, Tag("1")) if kind == "manifest" else registry.blob(NAME, Digest.of(BYTES))
            with pytest.raises(UpstreamBroken, match=f"127.0.0.1:{we.port} is Entrepot itself"):
                await asked
        assert we.connections == 0
        assert len(up.requests(kind)) == 1


async def test_a_listed_home_of_blobs_is_reached_by_both_clients_with_no_authorization() -> None:
    async with FaultUpstream() as up, FaultUpstream() as storage:
        storage.page("/x", RAW)
        storage.page("/blob", BYTES)
        up.always("manifest", roles.redirects(f"{storage.url}/x"))
        up.always("blob", roles.redirects(f"{storage.url}/blob"))
        async with client_of(up, redirects=(f"127.0.0.1:{storage.port}",)) as registry:
            assert (await registry.manifest(NAME, Tag("1"))).raw == RAW
            assert await pulled(registry, Digest.of(BYTES)) == BYTES
        assert len(storage.ledger) == 2
        assert not any("authorization" in seen.headers for seen in storage.ledger)
