"""The whole proxy as ``proxy.app`` composes it, in the scene's own loop and with the scene's clock, and what an ECR
registry answers."""

import asyncio
import json
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from proxy import app
from proxy.config import load
from proxy.core.names import Digest
from proxy.front.access_log import LogLines
from proxy.listening import Listening
from proxy.logs import LogHandler, LogWriter, as_json
from proxy.registries import Registries
from proxy.tasks.jobs import Jobs
from proxy.upstream.settings import Timing
from tests.cast import Act, FaultUpstream, Line, roles
from tests.cast.aws import REGION, AwsDoor, basic, password_of
from tests.scenarios.client import Client, Reply
from tests.scenarios.said import marked
from tests.scenarios.shelf import put_image

HOST = f"123456789012.dkr.ecr.{REGION}.amazonaws.com"
DAY = 86_400.0


class Clock:
    """The true time, ahead by as much as the scene says."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def wall(self) -> float:
        return time.time() + self.ahead


class App(NamedTuple):
    """A running proxy; ``log`` is all that it writes."""

    port: int
    admin: int
    log: Path
    clock: Clock

    async def get(self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Reply:
        return await _exchange(self.port, path, headers, method)

    async def manifest(self, image: str, host: str = HOST) -> Reply:
        """``image`` as ``name:tag`` or ``name@digest``."""
        name, _, reference = image.partition("@" if "@" in image else ":")
        return await self.get(f"/v2/{host}/{name}/manifests/{reference}")

    async def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((await _exchange(self.admin, "/api/v1/status")).body)
        return found

    async def metrics(self) -> str:
        return (await _exchange(self.admin, "/metrics")).body.decode()

    async def order(self, name: str) -> list[dict[str, Any]]:
        """An operator's order without further wishes, and what is said while it is carried out."""
        reply = await _exchange(self.admin, f"/api/v1/{name}", {"Content-Type": "application/json"}, "POST")
        return [json.loads(line) for line in reply.body.splitlines()]

    async def everything_said(self) -> str:
        """Log, metrics and status, of all that was asked until now."""
        async with asyncio.timeout(30):
            while (await self.status())["requests_active"]:
                await asyncio.sleep(0.01)
        await marked(self.log, self.get)
        return self.log.read_text() + await self.metrics() + json.dumps(await self.status())


async def _exchange(port: int, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Reply:
    async with await Client.connect(port) as client:
        await client.ask(path, headers, method)
        return await client.reply(method)


@asynccontextmanager
async def running(folder: Path, document: Mapping[str, Any], clock: Clock) -> AsyncIterator[App]:
    """``started``, and it never meets an error of its own."""
    async with started(folder, document, clock) as app:
        yield app
    assert "Traceback" not in app.log.read_text(), app.log.read_text()


@asynccontextmanager
async def started(
    folder: Path, document: Mapping[str, Any], clock: Clock, jobs: Callable[[asyncio.TaskGroup], Jobs] = Jobs
) -> AsyncIterator[App]:
    """``document`` is the configuration as users write it, without addresses."""
    folder.mkdir(exist_ok=True)
    config, log = folder / "entrepot.yaml", folder / "entrepot.log"
    places = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "drain": {"delay": "0s", "timeout": "5s"}}
    cache = {"path": str(folder / "cache"), "max_size": "1GiB", "min_free": 0}
    config.write_text(yaml.safe_dump({**places, "cache": cache, **document}))
    with log.open("ab") as output, _under_watch(LogWriter(output.fileno(), LogLines(as_json)), clock) as stop:
        begun: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
        life = asyncio.create_task(app.serve(load(config, {}), begun.set_result, jobs))
        ready = asyncio.Event()
        begun.add_done_callback(lambda _: ready.set())
        life.add_done_callback(lambda _: ready.set())
        await ready.wait()
        try:
            if life.done():
                life.result()
            where = begun.result()
            yield App(_port(where.loopback or where.pull), _port(where.admin), log, clock)
        finally:
            stop.ask(signal.SIGINT)
            await life


@contextmanager
def _under_watch(logs: app.Logs, clock: Clock) -> Iterator[app.Stop]:
    """The scene has the clock, reads all that anybody logs, as with the level debug, and says when to stop."""
    stop, root, handler = app.Stop(), logging.getLogger(), LogHandler(logs)
    level, timing = root.level, Timing(clock.monotonic, clock.wall, jitter=lambda: 0.0)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(app, "Registries", partial(Registries, timing=timing))
            patch.setattr(app, "steady_clock", lambda: clock.wall)
            patch.setattr(app, "wall_clock", clock.wall)
            patch.setattr(app, "Stop", lambda: stop)
            patch.setattr(app, "_logs", lambda settings: logs)
            yield stop
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


# ---------------------------------------------------------------- an ECR registry

BASIC_CHALLENGE = 'Basic realm="https://registry.test/",service="ecr.amazonaws.com"'
UNKNOWN_TOKEN = roles.answers(401, b"Not Authorized\n", {"WWW-Authenticate": BASIC_CHALLENGE})


def denies(message: str) -> Act:
    """403 without a challenge: ECR's answer to a token that has expired, and to a right that is missing."""
    body = {"errors": [{"code": "DENIED", "message": message}]}
    return roles.answers(403, json.dumps(body).encode(), {"Content-Type": "application/json"})


EXPIRED_TOKEN = denies("Your authorization token has expired. Reauthenticate and try again.")


def taking(passwords: set[str], then: Act = roles.steady, refusal: Act = UNKNOWN_TOKEN) -> Act:
    """``then`` for tokens that decode to one of the passwords, which the scene may change at any time."""

    async def act(line: Line) -> None:
        good = {f"Basic {basic('AWS', password)}" for password in passwords}
        await (then if line.seen.headers.get("authorization") in good else refusal)(line)

    return act


async def undigested(line: Line) -> None:
    """ECR names the digest of a manifest in its answer to HEAD only."""
    await (roles.steady if line.seen.method == "HEAD" else roles.without("Docker-Content-Digest"))(line)


class Ecr:
    """A registry that takes tokens of the passwords in ``accepted``, and images in it."""

    def __init__(self, up: FaultUpstream) -> None:
        self.up = up
        self.accepted = {password_of()}
        self.refuse_by(UNKNOWN_TOKEN)

    def refuse_by(self, refusal: Act) -> None:
        self.up.always("manifest", taking(self.accepted, undigested, refusal))
        self.up.always("blob", taking(self.accepted, roles.steady, refusal))

    def change_password(self, aws: AwsDoor, password: str) -> None:
        aws.password = password
        self.accepted.clear()
        self.accepted.add(password)


def image(up: FaultUpstream, name: str, tag: str, layer: bytes) -> tuple[Digest, Digest]:
    """An image of one layer; gives the digests of manifest and layer."""
    put = put_image(up, tag, layer, repository=name)
    return put.digest, put.parts[1]


def upstream_of(url: str, aws: str, **more: Any) -> dict[str, Any]:
    """The configuration of an ECR upstream that is at ``url``."""
    return {"url": url, "auth": {"type": "ecr", "region": REGION, "endpoint_url": aws}, **more}
