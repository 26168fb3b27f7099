"""Wherever AWS gives a machine its credentials, a pull finds them; the metadata services are stand-ins on loopback."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.cast import FaultUpstream
from tests.cast.aws import OTHER_ACCOUNT, AwsDoor, password_of
from tests.scenarios.ecr.conftest import SECRET
from tests.scenarios.ecr.stage import HOST, App, Clock, Ecr, image, running, upstream_of

ROLE = f"arn:aws:iam::{OTHER_ACCOUNT}:role/pull"
KEY = "AKIAFROMTHESERVICE00"
TOKEN = "canary-metadata-token"


class Metadata:
    """The container credentials endpoint of ECS and EKS, and the instance metadata service, version 2."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.url = ""

    async def __aenter__(self) -> "Metadata":
        application = web.Application()
        application.router.add_get("/container", self._container)
        application.router.add_put("/latest/api/token", self._session)
        application.router.add_get("/latest/meta-data/iam/security-credentials/{role:.*}", self._instance)
        self._server = TestServer(application)
        await self._server.start_server()
        self.url = str(self._server.make_url(""))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    async def _container(self, request: web.Request) -> web.Response:
        self.calls["container"] += 1
        if request.headers.get("Authorization") != TOKEN:
            return web.Response(status=401)
        return web.json_response(_credentials())

    async def _session(self, request: web.Request) -> web.Response:
        assert int(request.headers["x-aws-ec2-metadata-token-ttl-seconds"]) > 0
        return web.Response(text=TOKEN)

    async def _instance(self, request: web.Request) -> web.Response:
        self.calls["instance"] += 1
        if request.headers.get("x-aws-ec2-metadata-token") != TOKEN:
            return web.Response(status=401)
        if not request.match_info["role"]:
            return web.Response(text="node")
        return web.Response(text=json.dumps({"Code": "Success", **_credentials()}))


def _credentials() -> dict[str, str]:
    end = (datetime.now(UTC) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"AccessKeyId": KEY, "SecretAccessKey": SECRET, "Token": "canary-session", "Expiration": end}


@pytest.fixture
async def metadata(nothing_stays: None) -> AsyncIterator[Metadata]:
    async with Metadata() as metadata:
        yield metadata


@pytest.fixture
async def bare(aws: AwsDoor, monkeypatch: pytest.MonkeyPatch) -> AwsDoor:
    """The API, and no credentials in the environment."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    return aws


async def pull(app: App, up: FaultUpstream, password: str) -> None:
    """A cold pull, which only a token of the right account opens."""
    ecr = Ecr(up)
    ecr.accepted.clear()
    ecr.accepted.add(password)
    image(up, "team/app", "v1", b"layer")
    reply = await app.manifest("team/app:v1")
    assert (reply.status, reply.body if reply.status != 200 else b"") == (200, b"")
    said = await app.everything_said()
    assert SECRET not in said
    assert TOKEN not in said
    assert "canary-session" not in said


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def one_upstream(up: FaultUpstream, aws: AwsDoor, **auth: str) -> Mapping[str, object]:
    upstream = upstream_of(up.url, aws.url)
    upstream["auth"].update(auth)
    return {"upstreams": {HOST: upstream}}


async def test_by_a_service_account_of_kubernetes(
    bare: AwsDoor, upstream: FaultUpstream, tmp_path: Path, ahead: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = jwt.encode({"sub": "system:serviceaccount:cache:entrepot"}, "k" * 32, algorithm="HS256")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", written(tmp_path / "token", token))
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    async with running(tmp_path / "app", one_upstream(upstream, bare), ahead) as app:
        await pull(app, upstream, password_of(OTHER_ACCOUNT))
        assert token not in await app.everything_said()
    assert bare.calls == {"AssumeRoleWithWebIdentity": 1, "GetAuthorizationToken": 1}


async def test_by_the_container_endpoint_of_ecs_or_pod_identity(
    bare: AwsDoor,
    metadata: Metadata,
    upstream: FaultUpstream,
    tmp_path: Path,
    ahead: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{metadata.url}/container")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", written(tmp_path / "token", TOKEN))
    async with running(tmp_path / "app", one_upstream(upstream, bare), ahead) as app:
        await pull(app, upstream, password_of())
    assert metadata.calls == {"container": 1}
    assert bare.signers == {KEY}


async def test_by_the_instance_metadata_service(
    bare: AwsDoor,
    metadata: Metadata,
    upstream: FaultUpstream,
    tmp_path: Path,
    ahead: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
    async with running(tmp_path / "app", one_upstream(upstream, bare), ahead) as app:
        await pull(app, upstream, password_of())
    assert metadata.calls["instance"] == 2  # the name of the role, then its credentials
    assert bare.signers == {KEY}


async def test_by_a_profile(bare: AwsDoor, upstream: FaultUpstream, tmp_path: Path, ahead: Clock) -> None:
    section = f"[team]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    written(tmp_path / "credentials", section)
    async with running(tmp_path / "app", one_upstream(upstream, bare, profile="team"), ahead) as app:
        await pull(app, upstream, password_of())
    assert bare.signers == {KEY}


async def test_by_a_role_that_the_credentials_may_assume(
    aws: AwsDoor, upstream: FaultUpstream, tmp_path: Path, ahead: Clock
) -> None:
    document = one_upstream(upstream, aws, role_arn=ROLE, external_id="shared")
    async with running(tmp_path / "app", document, ahead) as app:
        await pull(app, upstream, password_of(OTHER_ACCOUNT))
    assert aws.calls == {"AssumeRole": 1, "GetAuthorizationToken": 1}


async def test_without_any_the_client_hears_so_and_credentials_that_come_later_are_found(
    bare: AwsDoor, upstream: FaultUpstream, tmp_path: Path, ahead: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path / "app", one_upstream(upstream, bare), ahead) as app:
        reply = await app.manifest("team/app:v1")
        assert reply.status == 502
        assert b"found no AWS credentials" in reply.body
        assert "no AWS credentials found; attach a role" in await app.everything_said()
        assert upstream.connections == 0
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        ahead.ahead = 61
        await pull(app, upstream, password_of())
