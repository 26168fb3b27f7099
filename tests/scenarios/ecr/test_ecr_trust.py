"""Credentials go to their own registry and nowhere else; a host that only looks like ECR is never connected to."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.config import ConfigInvalid, load
from tests.cast import FaultUpstream, Guard, roles
from tests.cast.authority import Authority
from tests.cast.aws import REGION, AwsDoor, basic, password_of
from tests.scenarios.ecr.stage import HOST, App, Clock, Ecr, image, running

PATTERN = f"*.dkr.ecr.{REGION}.amazonaws.com"
CANARY = "canary-password"


class Names:
    """Resolves every name to the scene's registry, and writes down who was asked for."""

    def __init__(self, up: FaultUpstream) -> None:
        self.up = up
        self.asked: list[str] = []
        self._real = socket.getaddrinfo

    def __call__(self, host: str, *rest: Any, **more: Any) -> list[Any]:
        """As ``socket.getaddrinfo``, which is asked for what the scene itself stands on."""
        if host in ("127.0.0.1", "localhost"):
            return self._real(host, *rest, **more)
        self.asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", self.up.port))]


@pytest.fixture
async def secure(nothing_stays: None, tmp_path: Path) -> AsyncIterator[FaultUpstream]:
    async with FaultUpstream(tls=Authority(tmp_path).server()) as up:
        yield up


@pytest.fixture
def names(secure: FaultUpstream, monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names(secure)
    monkeypatch.setattr(socket, "getaddrinfo", names)
    monkeypatch.setattr("proxy.upstream.lookups.getaddrinfo", lambda host, port: None)  # it is there
    return names


@pytest.mark.parametrize("region_named", [False, True])
async def test_a_pattern_stands_for_every_account_of_its_region_and_for_nothing_else(
    names: Names, aws: AwsDoor, ahead: Clock, tmp_path: Path, region_named: bool
) -> None:
    ecr = Ecr(names.up)
    image(ecr.up, "team/app", "v1", b"layer")
    auth = {"type": "ecr", "endpoint_url": aws.url, **({"region": REGION} if region_named else {})}
    ours = [f"{account}.dkr.ecr.{REGION}.amazonaws.com" for account in ("111111111111", "222222222222")]
    others = [
        "111111111111.dkr.ecr.eu-west-1.amazonaws.com",
        f"111111111111.dkr.ecr.{REGION}.amazonaws.com.evil.test",
        f"evil.dkr.ecr.{REGION}.amazonaws.com",
        f"11111111111.dkr.ecr.{REGION}.amazonaws.com",
        f"a.111111111111.dkr.ecr.{REGION}.amazonaws.com",
        f"111111111111-dkr.ecr.{REGION}.amazonaws.com",
        f"dkr.ecr.{REGION}.amazonaws.com",
    ]
    async with running(tmp_path / "app", {"upstreams": {PATTERN: {"auth": auth, "insecure": True}}}, ahead) as app:
        for host in ours:
            assert (await app.manifest("team/app:v1", host)).status == 200
        for host in others:
            assert (await app.manifest("team/app:v1", host)).status == 404
            assert (await app.get(f"/v2/team/app/manifests/v1?ns={host}")).status == 404
    assert names.asked == ours
    assert aws.calls["GetAuthorizationToken"] == 1  # for all accounts of the region
    assert {seen.headers["authorization"] for seen in ecr.up.ledger} == {f"Basic {basic('AWS', password_of())}"}
    assert {seen.headers["host"] for seen in ecr.up.ledger} == set(ours)


@pytest.mark.parametrize(
    "name",
    [
        f"123456789012.dkr.ecr.{REGION}.amazonaws.com.evil.test",
        f"12345678901.dkr.ecr.{REGION}.amazonaws.com",
        f"123456789012.dkr.ecr.{REGION}.amazonaws.evil.com",
        f"*.dkr.ecr.{REGION}.amazonaws.com.evil.test",
    ],
)
def test_a_name_that_only_looks_like_ecr_is_told_when_the_configuration_is_read(tmp_path: Path, name: str) -> None:
    config = tmp_path / "entrepot.yaml"
    config.write_text(f'upstreams:\n  "{name}": {{}}\n')
    with pytest.raises(ConfigInvalid, match="looks like an ECR registry but is none"):
        load(config, {})


@pytest.mark.parametrize("arn", ["arn:aws:iam::12:role/x", "role/x", "arn:aws:iam::123456789012:user/x"])
def test_a_malformed_role_is_told_when_the_configuration_is_read(tmp_path: Path, arn: str) -> None:
    config = tmp_path / "entrepot.yaml"
    config.write_text(f'upstreams:\n  {HOST}:\n    auth: {{type: ecr, role_arn: "{arn}"}}\n')
    with pytest.raises(ConfigInvalid, match="not the ARN of a role"):
        load(config, {})


# ---------------------------------------------------------------- token servers that a registry names


@pytest.fixture
async def evil(nothing_stays: None) -> AsyncIterator[FaultUpstream]:
    async with FaultUpstream() as evil:
        evil.token_server(Guard())
        yield evil


def hub(url: str, tmp_path: Path) -> dict[str, Any]:
    secret = tmp_path / "password"
    secret.write_text(CANARY)
    secret.chmod(0o600)
    return {"registry.test": {"url": url, "auth": {"type": "basic", "username": "me", "password_file": str(secret)}}}


REALMS = {
    "another host": "http://localhost:{evil}/token",
    "a name like ours": "http://127.0.0.1.evil.test:{evil}/token",
    "another scheme": "ftp://127.0.0.1:{own}/token",
    "user information": "http://127.0.0.1:{own}@localhost:{evil}/token",
    "our own host as user": "http://127.0.0.1@localhost:{evil}/token",
    "unicode digits": "http://\uff11\uff12\uff17.0.0.\uff12:{evil}/token",
    "a number": "http://2130706433:{evil}/token",
    "hexadecimal": "http://0x7f000001:{evil}/token",
    "another form of loopback": "http://[::ffff:127.0.0.1]:{evil}/token",
    "metadata": "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "a backslash": "http://localhost:{evil}\\@127.0.0.1:{own}/token",
    "nothing": "",
}


@pytest.mark.parametrize("realm", REALMS.values(), ids=REALMS.keys())
async def test_a_realm_that_is_not_the_registrys_own_gets_no_credential(
    upstream: FaultUpstream, evil: FaultUpstream, ahead: Clock, tmp_path: Path, realm: str
) -> None:
    written = realm.format(own=upstream.port, evil=evil.port).encode().decode("latin-1")
    image(upstream, "team/app", "v1", b"layer")
    challenge = f'Bearer realm="{written}",service="cast"'
    upstream.always("manifest", roles.refuses(401, "UNAUTHORIZED", challenge))
    async with running(tmp_path / "app", {"upstreams": hub(upstream.url, tmp_path)}, ahead) as app:
        reply = await app.manifest("team/app:v1", "registry.test")
        assert reply.status == (502 if realm else 403)
        assert CANARY.encode() not in reply.body
        assert CANARY not in await app.everything_said()
    assert upstream.requests("manifest")
    assert evil.connections == 0
    carried = [seen for seen in upstream.ledger if "authorization" in seen.headers]
    assert all(seen.kind == "token" for seen in carried)


async def test_the_registrys_own_realm_gets_the_credential_and_nothing_that_it_redirects_to(
    upstream: FaultUpstream, evil: FaultUpstream, ahead: Clock, tmp_path: Path
) -> None:
    guard = upstream.guard(Guard(user=("me", CANARY)))
    _, layer = image(upstream, "team/app", "v1", b"layer")
    evil.page(f"/elsewhere/{layer}", b"layer")
    upstream.plays(f"/v2/team/app/blobs/{layer}", roles.redirects(f"{evil.url}/elsewhere/{layer}"))
    async with running(tmp_path / "app", {"upstreams": hub(upstream.url, tmp_path)}, ahead) as app:
        assert (await app.manifest("team/app:v1", "registry.test")).status == 200
        assert (await app.get(f"/v2/registry.test/team/app/blobs/{layer}")).body == b"layer"
        assert CANARY not in await app.everything_said()
    assert guard.given == 1
    ledger = {seen.kind for seen in upstream.ledger if "Basic" in seen.headers.get("authorization", "")}
    assert ledger == {"token"}
    assert evil.ledger
    assert not any("authorization" in seen.headers or "cookie" in seen.headers for seen in evil.ledger)


async def test_a_token_server_that_redirects_is_not_followed(
    upstream: FaultUpstream, evil: FaultUpstream, ahead: Clock, tmp_path: Path
) -> None:
    upstream.guard(Guard(user=("me", CANARY)))
    image(upstream, "team/app", "v1", b"layer")
    upstream.always("token", roles.redirects(f"{evil.url}/token"))
    async with running(tmp_path / "app", {"upstreams": hub(upstream.url, tmp_path)}, ahead) as app:
        assert (await app.manifest("team/app:v1", "registry.test")).status == 502
    assert upstream.requests("token")
    assert evil.connections == 0


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/latest/meta-data/",
        "http://2852039166/latest/meta-data/",
        "http://0xa9fea9fe/latest/meta-data/",
        "http://0/latest/meta-data/",
        "file:///etc/passwd",
        "http://me:secret@127.0.0.1/",
        "",
    ],
)
async def test_ecr_cannot_redirect_a_layer_into_our_own_network(app: App, ecr: Ecr, location: str) -> None:
    _, layer = image(ecr.up, "team/app", "v1", b"layer")
    ecr.up.always("blob", roles.redirects(location))
    reply = await app.get(f"/v2/{HOST}/team/app/blobs/{layer}")
    assert reply.status == 502
    assert ecr.up.requests("blob")


async def test_an_ecr_that_answers_like_a_token_registry_gets_no_aws_token_to_another_host(
    app: App, ecr: Ecr, evil: FaultUpstream
) -> None:
    image(ecr.up, "team/app", "v1", b"layer")
    challenge = f'Bearer realm="{evil.url}/token",service="ecr.amazonaws.com"'
    ecr.up.always("manifest", roles.refuses(401, "UNAUTHORIZED", challenge))
    assert (await app.manifest("team/app:v1")).status == 403
    assert evil.connections == 0


async def test_where_ecr_redirects_to_the_token_does_not_go(app: App, ecr: Ecr, evil: FaultUpstream) -> None:
    image(ecr.up, "team/app", "v1", b"layer")
    evil.page("/v2/team/app/manifests/v1", b"{}")
    ecr.up.always("manifest", roles.redirects(f"{evil.url}/v2/team/app/manifests/v1"))
    await app.manifest("team/app:v1")
    assert evil.ledger
    assert not any("authorization" in seen.headers for seen in evil.ledger)
