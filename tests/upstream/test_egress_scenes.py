"""Every road out goes by the proxy that the configuration or the environment names, or round it, and both clients agree
on it. The proxy is a real one, which counts."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from proxy.core.credentials import Credentials
from proxy.core.egress import Egress
from proxy.core.errors import Outage, UpstreamBroken, UpstreamUnreachable
from proxy.core.names import Digest, Tag
from proxy.upstream.egress import ProxyLogin, WayClosed, WaysOut
from proxy.upstream.registry import HttpRegistry
from proxy.upstream.settings import ExchangeLimits
from tests.cast import FaultUpstream, ForwardProxy, roles
from tests.cast.authority import Authority
from tests.cast.guard import basic
from tests.upstream.rig import NAME, client_of, pulled

RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'
BYTES = bytes(range(256)) * 4000
TAG = Tag("1")
ONCE = ExchangeLimits(tries=1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def asking(url: str, ways: WaysOut, **settings: object) -> AbstractAsyncContextManager[HttpRegistry]:
    """Without a second try, unless the settings say otherwise."""
    return client_of(url, ways=ways, **{"limits": ONCE, **settings})  # type: ignore[arg-type]


def through(proxy: ForwardProxy, login: ProxyLogin | None = None, no_proxy: tuple[str, ...] = ()) -> WaysOut:
    return WaysOut(Egress(proxy.url, no_proxy), {}, login)


async def ours() -> Credentials:
    return Credentials("me", "s3:cret@é")


async def whole_pull(registry: HttpRegistry, up: FaultUpstream) -> None:
    up.manifest(NAME, "1", RAW)
    digest = up.blob(NAME, BYTES)
    assert (await registry.manifest(NAME, TAG)).raw == RAW
    for _ in range(2):
        assert await pulled(registry, digest) == BYTES
    assert await pulled(registry, digest, offset=1000) == BYTES[1000:]


@pytest.mark.parametrize("of_proxy", ["http", "https"])
async def test_https_goes_through_a_tunnel_and_is_kept(authority: Authority, of_proxy: str) -> None:
    """One tunnel for each client: manifests, and blobs one after the other."""
    tls = authority.server() if of_proxy == "https" else None
    async with FaultUpstream(tls=authority.server("registry.test")) as up, ForwardProxy(tls=tls) as proxy:
        proxy.places["registry.test:443"] = up.port
        ca_file = str(authority.ca_file)
        async with asking("https://registry.test", through(proxy), egress_ca_file=ca_file) as registry:
            await whole_pull(registry, up)
        assert [(asked.method, asked.target) for asked in proxy.asked] == [("CONNECT", "registry.test:443")] * 2
        assert {seen.headers["host"] for seen in up.ledger} == {"registry.test"}


async def test_plain_http_is_asked_in_the_open(authority: Authority) -> None:
    async with FaultUpstream() as up, ForwardProxy(user=("me", "s3:cret@é")) as proxy:
        proxy.places["registry.test:80"] = up.port
        async with asking("http://registry.test", through(proxy, ours)) as registry:
            await whole_pull(registry, up)
        assert {asked.method for asked in proxy.asked} == {"GET"}
        assert {seen.headers["host"] for seen in up.ledger} == {"registry.test"}
        assert not any("proxy-authorization" in seen.headers for seen in up.ledger)


async def test_tokens_go_the_same_way(authority: Authority) -> None:
    async with FaultUpstream(tls=authority.server("registry.test")) as up, ForwardProxy() as proxy:
        proxy.places |= {"registry.test:443": up.port, "tokens.test:443": up.port}
        guard = up.guard()
        guard.realm = "https://registry.test/token"
        async with asking("https://registry.test", through(proxy), ca_file=str(authority.ca_file)) as registry:
            await whole_pull(registry, up)
        assert guard.given == 1
        assert len(up.requests("token")) == 1
        assert set(proxy.targets) == {"registry.test:443"}


async def test_user_and_password_are_shown_to_the_proxy_and_to_nobody_else(authority: Authority) -> None:
    user = ("me", "s3:cret@é")
    async with FaultUpstream(tls=authority.server("registry.test")) as up, ForwardProxy(user=user) as proxy:
        proxy.places["registry.test:443"] = up.port
        ca_file = str(authority.ca_file)
        async with asking("https://registry.test", through(proxy, ours), ca_file=ca_file) as registry:
            await whole_pull(registry, up)
        assert {asked.authorization for asked in proxy.asked} == {basic(*user)}
        assert not any({"authorization", "proxy-authorization"} & set(seen.headers) for seen in up.ledger)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(("login", "words"), [(None, "wants a user and password"), (ours, "does not take our user")])
async def test_a_proxy_that_lets_nobody_in_is_an_outage_with_words(
    scheme: str, login: ProxyLogin | None, words: str
) -> None:
    async with ForwardProxy(user=("somebody", "else")) as proxy:
        async with asking(f"{scheme}://registry.test", through(proxy, login)) as registry:
            await outage(registry, words)
        assert [asked.let_through for asked in proxy.asked] == [False, False]


async def test_a_proxy_that_is_down_or_refuses_is_an_outage_that_names_it() -> None:
    async with ForwardProxy() as proxy, asking("https://registry.test", through(proxy)) as registry:
        proxy.status = 503
        await outage(registry, rf"{proxy.url} refused to connect \(503\)")
        await proxy.vanish()
        await outage(registry, f"no connection to the proxy {proxy.url}")


async def test_the_certificate_of_a_proxy_counts(authority: Authority) -> None:
    async with ForwardProxy(tls=authority.server()) as proxy:
        async with asking("https://registry.test", through(proxy)) as registry:
            await outage(registry, f"the certificate of the proxy {proxy.url} is not valid")
        assert proxy.asked == []


async def test_a_login_that_cannot_be_read_is_our_outage() -> None:
    async def gone() -> Credentials:
        raise WayClosed("user and password for the proxy cannot be read: gone")

    async with ForwardProxy() as proxy:
        async with asking("https://registry.test", through(proxy, gone)) as registry:
            await outage(registry, "cannot be read: gone")
        assert proxy.asked == []


async def outage(registry: HttpRegistry, words: str) -> None:
    for ask in (registry.manifest(NAME, TAG), registry.blob(NAME, Digest.of(BYTES))):
        with pytest.raises(Outage, match=words) as caught:
            await ask
        assert "s3:cret" not in str(caught.value)


async def test_insecure_leaves_no_proxy_of_https_unchecked(authority: Authority) -> None:
    async with ForwardProxy(tls=authority.server()) as proxy:
        async with asking("https://registry.test", through(proxy), insecure=True) as registry:
            await outage(registry, f"the certificate of the proxy {proxy.url} is not valid")
        assert proxy.asked == []


@pytest.mark.parametrize(
    ("environ", "by_proxy"),
    [
        ({"HTTP_PROXY": "{proxy}"}, True),
        ({"http_proxy": "{proxy}"}, True),
        ({"HTTPS_PROXY": "{proxy}"}, False),
        ({"HTTP_PROXY": "{proxy}", "NO_PROXY": "example.com,.test"}, False),
        ({"HTTP_PROXY": "{proxy}", "NO_PROXY": "registry.test:81"}, True),
    ],
)
async def test_the_environment_says_the_way_where_the_configuration_does_not(
    environ: Mapping[str, str], by_proxy: bool
) -> None:
    async with FaultUpstream() as up, ForwardProxy() as proxy:
        proxy.places["registry.test:80"] = up.port
        up.manifest(NAME, "1", RAW)
        ways = WaysOut(Egress(), {name: value.format(proxy=proxy.url) for name, value in environ.items()})
        async with asking("http://registry.test", ways) as registry:
            if by_proxy:
                assert (await registry.manifest(NAME, TAG)).raw == RAW
            else:  # straight, where nobody has that name
                with pytest.raises(UpstreamUnreachable):
                    await registry.manifest(NAME, TAG)
        assert bool(proxy.asked) is by_proxy


async def test_user_and_password_of_the_environment_are_decoded() -> None:
    async with FaultUpstream() as up, ForwardProxy(user=("m e", "s3:cret@é")) as proxy:
        proxy.places["registry.test:80"] = up.port
        url = proxy.url.replace("://", "://m%20e:s3%3Acret%40%C3%A9@")
        async with asking("http://registry.test", WaysOut(Egress(), {"http_proxy": url})) as registry:
            await whole_pull(registry, up)
        assert all(asked.let_through for asked in proxy.asked)


async def test_a_proxy_of_the_environment_that_is_no_proxy_is_said() -> None:
    ways = WaysOut(Egress(), {"HTTPS_PROXY": "socks5://me:s3:cret@proxy.test"})
    async with asking("https://registry.test", ways) as registry:
        await outage(registry, "HTTPS_PROXY names a proxy of the kind 'socks5'")


async def test_each_hop_of_a_redirect_finds_its_own_way() -> None:
    """The registry is reached straight, its storage through the proxy, and the other way round."""
    async with FaultUpstream() as up, FaultUpstream() as storage, ForwardProxy() as proxy:
        proxy.places |= {"storage.test:80": storage.port, "registry.test:80": up.port}
        storage.page("/layer", BYTES)
        storage.page("/manifest", RAW)
        straight = (f"127.0.0.1:{up.port}", f"127.0.0.1:{storage.port}")
        up.always("blob", roles.redirects("http://storage.test/layer"))
        up.always("manifest", roles.redirects("http://storage.test/manifest"))
        async with asking(up.url, through(proxy, no_proxy=straight)) as registry:
            assert await pulled(registry, Digest.of(BYTES)) == BYTES
            assert (await registry.manifest(NAME, TAG)).raw == RAW
        assert proxy.targets == ["storage.test:80"] * 2


@pytest.mark.parametrize(
    "place", ["169.254.169.254", "10.0.0.7", "[fd00:ec2::254]", "127.0.0.1:1", "localhost", "x.localhost", "[::1]"]
)
async def test_a_proxy_is_no_door_into_its_network(place: str) -> None:
    """Where addresses stand in the URL they are judged as ever."""
    async with FaultUpstream() as up, ForwardProxy() as proxy:
        proxy.places["registry.test:80"] = up.port
        up.always("blob", roles.redirects(f"http://{place}/layer"))
        up.always("manifest", roles.redirects(f"http://{place}/manifest"))
        async with asking("http://registry.test", through(proxy)) as registry:
            for ask in (registry.manifest(NAME, TAG), registry.blob(NAME, Digest.of(BYTES))):
                with pytest.raises(UpstreamBroken, match="not followed"):
                    await ask
        assert set(proxy.targets) == {"registry.test:80"}
        assert len(up.ledger) == 2


async def test_a_private_proxy_opens_no_private_host() -> None:
    """That the proxy is near says nothing of where the registry is."""
    async with FaultUpstream() as up, FaultUpstream() as near, ForwardProxy() as proxy:
        proxy.places["registry.test:80"] = up.port
        near.page("/layer", BYTES)
        up.always("blob", roles.redirects(f"{near.url}/layer"))
        ways = through(proxy, no_proxy=("127.0.0.1",))
        async with asking("http://registry.test", ways) as registry:
            with pytest.raises(UpstreamBroken, match="not a public address"):
                await registry.blob(NAME, Digest.of(BYTES))
        assert near.connections == 0


async def test_what_the_proxy_never_finishes_ends_by_the_clock(authority: Authority) -> None:
    limits = ExchangeLimits(connect=0.3, first_byte=0.3, total=1.0, tries=1)
    gate = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    ways = WaysOut(Egress(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", ()))
    async with asking("https://registry.test", ways, limits=limits) as registry:
        await outage(registry, "registry.test")
    gate.set()
    server.close()


async def test_a_cut_within_a_tunnel_is_told_as_any_other(authority: Authority) -> None:
    async with (
        FaultUpstream(tls=authority.server("registry.test")) as up,
        ForwardProxy(tls=authority.server()) as proxy,
    ):
        proxy.places["registry.test:443"] = up.port
        digest = up.blob(NAME, BYTES)
        up.plays("blob", roles.ends_early(at=5000))
        up.always("manifest", roles.gibberish)
        async with asking("https://registry.test", through(proxy), egress_ca_file=str(authority.ca_file)) as registry:
            with pytest.raises(UpstreamUnreachable, match="broke off"):
                await pulled(registry, digest)
            with pytest.raises(UpstreamBroken):
                await registry.manifest(NAME, TAG)
        assert up.unplayed == 0
