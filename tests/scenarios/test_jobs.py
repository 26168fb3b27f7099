"""A bug in each of the background jobs: pulls go on, it is counted and told, and the job comes back."""

import ast
import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cast import FaultUpstream
from tests.cast.authority import Authority
from tests.cast.planted import FAILURES, Planted
from tests.scenarios.ecr.stage import DAY, App, Clock, started
from tests.scenarios.house import APP, NAME, blob_path, manifest_path
from tests.source import rooms

WAYS = ("once", "every", "keep")  # to start a job
KIB = 1 << 10
RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'

Prompt = Callable[[App], Awaitable[None]]


async def nothing(_: App) -> None:
    """It comes back by itself."""


async def a_day_passes(app: App) -> None:
    app.clock.ahead += 2 * DAY


async def a_person_asks_for_a_reload(_: App) -> None:
    os.kill(os.getpid(), signal.SIGHUP)


PROMPTS: Mapping[str, Prompt] = {
    "access": a_day_passes,
    "catalog copy": nothing,
    "clients' certificates": nothing,
    "clock": nothing,
    "comparison": nothing,
    "credentials": nothing,
    "files of TLS": nothing,
    "eviction": nothing,  # the next pull finds the cache too full
    "last use": nothing,
    "ledger": nothing,
    "lifecycle": nothing,
    "logins": nothing,
    "loop lag": nothing,
    "proofs": nothing,
    "reload": a_person_asks_for_a_reload,
    "scrub": nothing,
    "service manager": nothing,
    "silent admin clients": nothing,
    "silent clients": nothing,
    "storage": nothing,
    "tag audit": a_day_passes,
    "touches": nothing,
    "warm": nothing,
}
"""Every job by name, and what has to happen, besides pulls, for its next run."""

OF_TLS = {"clients' certificates", "files of TLS"}
"""Those that only a listener with TLS needs."""

OF_SERVICES = {"service manager"}
"""Those that only a process needs whose service manager listens."""

OF_UPSTREAMS = {"aws tokens", "registry close", "tag mutability", "token renewal"}
"""Those that only some registries need have their bugs in ``tests/upstream``."""


@pytest.fixture
def service_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Has one listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:

        def listen() -> None:
            listening.bind(str(tmp_path / "notify"))
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        yield listen


def document(url: str, folder: Path, job: str = "") -> dict[str, Any]:
    """With what the job needs."""
    of_tls: dict[str, Any] = {}
    if job in OF_TLS:
        certificate, key = Authority(folder).files()
        of_tls = {"tls": {"certificate": str(certificate), "key": str(key)}, "loopback": "127.0.0.1:0"}
    return {
        **of_tls,
        "cache": {"path": str(folder / "cache"), "max_size": "1MiB", "min_free": 0},
        "upstreams": {NAME: {"url": url}},
        "tags": {"immutable": [f"{NAME}/{APP}:v*"]},
    }


async def pulls_go_on(app: App, upstream: FaultUpstream, number: int) -> None:
    """A tag that is held but for the first time, and a miss."""
    digest = upstream.blob(APP, content := number.to_bytes(4, "big") * (5 * KIB))
    held, missed = await app.get(manifest_path("v1")), await app.get(blob_path(digest))
    assert (missed.status, missed.body) == (200, content)
    assert (held.status, held.body) == (200, RAW)


@pytest.mark.parametrize("name", PROMPTS)
async def test_a_bug_in_a_job_costs_no_pull_is_counted_and_told_and_the_job_comes_back(
    name: str, tmp_path: Path, upstream: FaultUpstream, service_manager: Callable[[], None]
) -> None:
    upstream.manifest(APP, "v1", RAW)
    bug = Planted(name)
    if name in OF_SERVICES:
        service_manager()
    async with started(tmp_path / "app", document(upstream.url, tmp_path, name), Clock(), bug.made_for) as app:
        async with asyncio.timeout(30):
            number = 0
            while not bug.came_back.is_set():
                await pulls_go_on(app, upstream, number := number + 1)
                await PROMPTS[name](app)
                await asyncio.sleep(0.01)
        await pulls_go_on(app, upstream, 0)
        assert bug.fired == FAILURES
        counted = failures(await app.metrics())
        assert counted == {each: FAILURES * (each == name) for each in counted}
        assert name in counted
    told = app.log.read_text()
    assert told.count("ZeroDivisionError: planted") == told.count("Traceback") == FAILURES


async def test_what_never_failed_is_there_to_be_looked_at(tmp_path: Path, upstream: FaultUpstream) -> None:
    async with started(tmp_path / "app", document(upstream.url, tmp_path), Clock()) as app:
        counted = failures(await app.metrics())
    at_need = {"access", "eviction", "reload", "tag audit"} | OF_TLS | OF_SERVICES
    assert counted == dict.fromkeys(set(PROMPTS) - at_need, 0)


def test_every_job_has_its_bug() -> None:
    assert set(named()) == set(PROMPTS) | OF_UPSTREAMS


def named() -> Iterator[str]:
    """The jobs in the source."""
    for room in rooms():
        for node in ast.walk(room.tree):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="once" | "every" | "keep"), args=[ast.Constant(value=str(name)), *_]
                ):
                    yield name


def failures(metrics: str) -> dict[str, int]:
    """By job."""
    label = 'entrepot_job_failures_total{job="'
    lines = [line.removeprefix(label) for line in metrics.splitlines() if line.startswith(label)]
    return {name: int(float(value)) for name, value in (line.split('"} ') for line in lines)}
