"""Amazon ECR as far as it can be had without AWS.

``Moto`` plays the AWS APIs, Debian's docker-registry with its S3 driver on moto plays the private registry (401 Basic,
307 to presigned S3 URLs), ``AwsDoor`` stands before moto to count, to fail and to change the password, and
``PublicRegistry`` is a stand-in for ECR Public, which moto does not know.
"""

import asyncio
import base64
import json
import os
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import bcrypt
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from tests.cast.registry import Registry
from tests.ports import free_port
from tests.process import listens, running

ACCOUNT = "123456789012"  # moto's own
OTHER_ACCOUNT = "222222222222"
REGION = "us-east-1"


def password_of(account: str = ACCOUNT) -> str:
    """What moto puts into a token for principals of the account."""
    return f"{account}-auth-token"


def basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def isolate_from_aws(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Nothing that this machine knows of AWS is seen."""
    for key in [key for key in os.environ if key.startswith(("AWS_", "BOTO"))]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(home / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def aws_credentials(monkeypatch: pytest.MonkeyPatch, home: Path, secret: str = "testing") -> None:
    """These, and nothing else that this machine knows of AWS."""
    isolate_from_aws(monkeypatch, home)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)


@contextmanager
def moto(folder: Path) -> Iterator[str]:
    """A moto server of its own; gives its address."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    env = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    with running(command, folder / "moto.log", lambda: listens(port), env=env):
        yield f"http://127.0.0.1:{port}"


def make_bucket(s3: str, name: str) -> None:
    """moto takes a plain PUT; it verifies no signature."""
    urllib.request.urlopen(urllib.request.Request(f"{s3}/{name}", method="PUT"), timeout=10).close()


class PrivateRegistry:
    """docker-registry behaving as ECR: Basic for user AWS, blobs behind presigned S3 URLs."""

    def __init__(self, folder: Path, s3: str, bucket: str) -> None:
        self._htpasswd = folder / "htpasswd"
        self.accept(password_of())
        auth = {"htpasswd": {"realm": "http://127.0.0.1/", "path": str(self._htpasswd)}}
        self._registry = Registry(folder, {"s3": _driver(s3, bucket)}, {"auth": auth})
        self.port = self._registry.port
        self.url = f"http://{self._registry.address}"

    def accept(self, password: str) -> None:
        """From now on this is the only password; the registry reads its file again when that changes."""
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4, prefix=b"2a")).decode()
        staged = self._htpasswd.with_suffix(".new")
        staged.write_text(f"AWS:{hashed}\n")
        staged.replace(self._htpasswd)

    @contextmanager
    def running(self) -> Iterator[None]:
        with self._registry.running():
            yield


class Place(NamedTuple):
    """AWS, and a registry of it."""

    moto_url: str
    registry: PrivateRegistry


@contextmanager
def private_ecr(folder: Path) -> Iterator[Place]:
    """Both, running."""
    with moto(folder) as moto_url:
        make_bucket(moto_url, "layers")
        registry = PrivateRegistry(folder, moto_url, "layers")
        with registry.running():
            yield Place(moto_url, registry)


def _driver(s3: str, bucket: str) -> dict[str, Any]:
    return {
        "accesskey": "testing",
        "secretkey": "testing",
        "region": REGION,
        "regionendpoint": s3,
        "bucket": bucket,
        "v4auth": True,
        "secure": False,
    }


class AwsDoor:
    """Stands before moto: counts operations, holds, fails or changes answers. ``url`` is an AWS endpoint."""

    def __init__(self, moto_url: str) -> None:
        self._moto = moto_url
        self.calls: Counter[str] = Counter()
        self.signers: set[str] = set()  # access key ids
        self.gate = asyncio.Event()
        self.gate.set()
        self.password = ""  # of the token to give instead of moto's
        self.expires_at: float | None = None  # seconds since the epoch, instead of moto's
        self.date = ""  # of the answer, instead of the true one
        self.failure: tuple[int, str] | None = None  # (status, error type) of every answer
        self.failing = ""  # the only operation that ``failure`` is for, where there is one
        self.url = ""

    async def __aenter__(self) -> "AwsDoor":
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._client = ClientSession()
        # Whoever leaves between the head and the body of a request would be waited for, without end.
        self._runner = web.AppRunner(app, handler_cancellation=True)
        await self._runner.setup()
        await self._listen(0)
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
        await self._runner.cleanup()

    async def go_away(self) -> None:
        """Nobody listens there any more."""
        await self._site.stop()

    async def come_back(self) -> None:
        await self._listen(int(self.url.rpartition(":")[2]))

    async def _listen(self, port: int) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", port)
        await self._site.start()

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        operation = _operation(request, body)
        self.calls[operation] += 1
        _, _, credential = request.headers.get("Authorization", "").partition("Credential=")
        self.signers.add(credential.partition("/")[0])
        await self.gate.wait()
        if self.failure is not None and self.failing in ("", operation):
            status, kind = self.failure
            if "X-Amz-Target" not in request.headers:  # STS speaks XML
                error = f"<ErrorResponse><Error><Code>{kind}</Code></Error></ErrorResponse>"
                return web.Response(text=error, status=status, content_type="text/xml")
            return web.json_response(
                {"__type": kind, "message": "as told by the test"},
                status=status,
                content_type="application/x-amz-json-1.1",
            )
        async with self._client.request(
            request.method, f"{self._moto}{request.rel_url}", data=body, headers=request.headers
        ) as reply:
            content = await reply.read()
            if operation.endswith("GetAuthorizationToken") and reply.status == 200:
                content = self._reworked(content)
            headers = {"Content-Type": reply.headers.get("Content-Type", "")}
            return web.Response(
                body=content, status=reply.status, headers=headers | ({"Date": self.date} if self.date else {})
            )

    def _reworked(self, content: bytes) -> bytes:
        answer = json.loads(content)
        for data in answer["authorizationData"]:
            if self.password:
                data["authorizationToken"] = basic("AWS", self.password)
            if self.expires_at is not None:
                data["expiresAt"] = self.expires_at
        return json.dumps(answer).encode()


@asynccontextmanager
async def aws_door(
    moto_url: str, monkeypatch: pytest.MonkeyPatch, home: Path, secret: str = "testing"
) -> AsyncIterator[AwsDoor]:
    """The door, and credentials in the environment that it takes; nothing else of this machine is seen."""
    aws_credentials(monkeypatch, home, secret)
    async with AwsDoor(moto_url) as door:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", door.url)
        yield door


def _operation(request: web.Request, body: bytes) -> str:
    if target := request.headers.get("X-Amz-Target"):
        return target.rpartition(".")[2]
    action = [part[7:] for part in body.decode(errors="replace").split("&") if part.startswith("Action=")]
    return action[0] if action else request.method


class PublicRegistry:
    """ECR Public and its API in one: 400 on Basic, 400 DENIED without a challenge on an unknown bearer, 401 on every
    blob HEAD; AWS tokens for the API's callers, bearers of either kind at ``/token/``."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.bearers: dict[str, bool] = {}  # live ones; True where AWS credentials stood behind it
        self.aws_password = "public-password"
        self.aws_failure: tuple[int, str] | None = None
        self.url = ""

    async def __aenter__(self) -> "PublicRegistry":
        app = web.Application()
        app.router.add_post("/", self._api)
        app.router.add_get("/token/", self._token)
        app.router.add_route("*", "/v2/{tail:.*}", self._registry)
        self._server = TestServer(app)
        await self._server.start_server()
        self.url = str(self._server.make_url(""))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    def forget_bearers(self) -> None:
        """As if they had expired."""
        self.bearers.clear()

    async def _api(self, request: web.Request) -> web.Response:
        target = request.headers["X-Amz-Target"]
        assert target == "SpencerFrontendService.GetAuthorizationToken"
        assert f"/{REGION}/ecr-public/aws4_request" in request.headers["Authorization"]
        self.calls["api"] += 1
        if self.aws_failure is not None:
            return web.json_response({"__type": self.aws_failure[1]}, status=self.aws_failure[0])
        token = {"authorizationToken": basic("AWS", self.aws_password), "expiresAt": time.time() + 12 * 3600}
        return web.json_response({"authorizationData": token}, content_type="application/x-amz-json-1.1")

    async def _token(self, request: web.Request) -> web.Response:
        self.calls["token"] += 1
        given = request.headers.get("Authorization")
        if given is not None and given != f"Basic {basic('AWS', self.aws_password)}":
            return web.json_response(_oci_error("DENIED"), status=400)
        bearer = f"bearer-{self.calls['token']}"
        self.bearers[bearer] = given is not None
        return web.json_response({"token": bearer})

    async def _registry(self, request: web.Request) -> web.Response:
        self.calls["registry"] += 1
        scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
        if scheme == "" or (request.method == "HEAD" and "/blobs/" in request.path):
            challenge = f'Bearer realm="{self.url}/token/",service="public.ecr.aws",scope="aws"'
            return web.json_response(_oci_error("UNAUTHORIZED"), status=401, headers={"WWW-Authenticate": challenge})
        if scheme != "Bearer" or credential not in self.bearers:
            return web.json_response(_oci_error("DENIED"), status=400)
        return web.json_response({"authenticated": self.bearers[credential]})


def _oci_error(code: str) -> dict[str, Any]:
    return {"errors": [{"code": code, "message": "Your Authorization Token is invalid."}]}
