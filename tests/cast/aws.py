"""Amazon ECR as far as it can be had without AWS.

``Moto`` plays the AWS APIs, Debian's docker-registry with its S3 driver on moto plays the private registry (401 Basic,
307 to presigned S3 URLs), ``AwsDoor`` stands before moto to count, to fail and to change the password, and
``PublicRegistry`` is a stand-in for ECR Public, which moto does not know.
"""

import asyncio
import base64
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bcrypt
import yaml
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from tests.ports import free_port

ACCOUNT = "123456789012"  # moto's own
OTHER_ACCOUNT = "222222222222"
REGION = "us-east-1"
DOCKER_REGISTRY = shutil.which("docker-registry")
_START_LIMIT = 30.0  # seconds


def password_of(account: str = ACCOUNT) -> str:
    """What moto puts into a token for principals of the account."""
    return f"{account}-auth-token"


def basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def _await_http(url: str, running: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + _START_LIMIT
    while time.monotonic() < limit:
        assert running.poll() is None, f"the server of {url} ended with {running.returncode}"
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except urllib.error.HTTPError as answered:
            answered.close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"{url} did not come up")


@contextmanager
def _running(command: list[str], url: str, log: Path, environment: Mapping[str, str]) -> Iterator[None]:
    with log.open("wb") as output:
        running = subprocess.Popen(command, stdout=output, stderr=output, env=dict(environment))
        try:
            _await_http(url, running)
            yield
        finally:
            running.terminate()
            running.wait(10)


def _quiet_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}


@contextmanager
def moto(folder: Path) -> Iterator[str]:
    """A moto server of its own; gives its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, f"{url}/moto-api/", folder / "moto.log", _quiet_environment()):
        yield url


def make_bucket(s3: str, name: str) -> None:
    """moto takes a plain PUT; it verifies no signature."""
    urllib.request.urlopen(urllib.request.Request(f"{s3}/{name}", method="PUT"), timeout=10).close()


class PrivateRegistry:
    """docker-registry behaving as ECR: Basic for user AWS, blobs behind presigned S3 URLs."""

    def __init__(self, folder: Path, s3: str, bucket: str) -> None:
        self._htpasswd = folder / "htpasswd"
        self._config = folder / "registry.yml"
        self._log = folder / "registry.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.accept(password_of())
        self._config.write_text(yaml.safe_dump(self._settings(s3, bucket)))

    def accept(self, password: str) -> None:
        """From now on this is the only password; the registry reads its file again when that changes."""
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4, prefix=b"2a")).decode()
        staged = self._htpasswd.with_suffix(".new")
        staged.write_text(f"AWS:{hashed}\n")
        staged.replace(self._htpasswd)

    @contextmanager
    def running(self) -> Iterator[None]:
        assert DOCKER_REGISTRY is not None
        with _running(
            [DOCKER_REGISTRY, "serve", str(self._config)], f"{self.url}/v2/", self._log, _quiet_environment()
        ):
            yield

    def _settings(self, s3: str, bucket: str) -> dict[str, Any]:
        driver = {
            "accesskey": "testing",
            "secretkey": "testing",
            "region": REGION,
            "regionendpoint": s3,
            "bucket": bucket,
            "v4auth": True,
            "secure": False,
        }
        return {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"s3": driver},
            "http": {"addr": f"127.0.0.1:{self.port}"},
            "auth": {"htpasswd": {"realm": f"{self.url}/", "path": str(self._htpasswd)}},
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
        self._runner = web.AppRunner(app)
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
