"""Logins as ``docker login`` and Kubernetes leave them, from the file to the token server."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.config import load
from proxy.core.errors import UpstreamRefused
from proxy.core.names import Tag
from proxy.registries import Registries
from proxy.tasks.jobs import Jobs
from proxy.upstream.registry import HttpRegistry
from tests.cast import FaultUpstream, Guard, Line
from tests.cast.guard import basic
from tests.upstream.rig import NAME

RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'
TAG = Tag("1")


@pytest.fixture
async def up() -> AsyncIterator[FaultUpstream]:
    async with FaultUpstream() as up:
        up.manifest(NAME, "1", RAW)
        up.manifest("team/app", "1", RAW)
        yield up


class Desk:
    """Where logins are kept."""

    def __init__(self, folder: Path, up: FaultUpstream, jobs: Jobs) -> None:
        self.file = folder / "config.json"
        self.host = f"127.0.0.1:{up.port}"
        self.write({})
        auth = {"type": "dockerconfig", "file": str(self.file)}
        config = folder / "entrepot.yaml"
        upstreams = {"a.test": {"url": up.url, "auth": auth}}
        config.write_text(yaml.safe_dump({"cache": {"path": str(folder / "cache")}, "upstreams": upstreams}))
        self.registries = Registries(load(config, {}).settings, jobs)

    @property
    def registry(self) -> HttpRegistry:
        return self.registries.get("a.test")

    def write(self, entries: dict[str, Any], **more: Any) -> None:
        fresh = self.file.with_name("fresh")
        fresh.write_text(json.dumps({"auths": entries, **more}))
        fresh.replace(self.file)


@pytest.fixture
async def desk(tmp_path: Path, up: FaultUpstream, jobs: Jobs) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path, up, jobs)
    yield desk
    await desk.registries.close()


async def test_a_password_goes_to_the_token_server_by_get(up: FaultUpstream, desk: Desk) -> None:
    up.guard(Guard(user=("me", "it")))
    desk.write({"a.test": {"username": "me", "password": "it"}})
    assert (await desk.registry.manifest(NAME, TAG)).raw == RAW
    assert [(seen.method, seen.headers["authorization"]) for seen in up.requests("token")] == [
        ("GET", basic("me", "it"))
    ]


async def test_an_identity_token_goes_to_the_token_server_by_post(up: FaultUpstream, desk: Desk) -> None:
    guard = up.guard(Guard(user=("nobody", "else"), refresh="a+b/c=="))
    desk.write({"a.test": {"identitytoken": "a+b/c=="}})
    for _ in range(2):
        assert (await desk.registry.manifest(NAME, TAG)).raw == RAW
    (asked,) = up.requests("token")
    assert (asked.method, asked.target) == ("POST", "/token")
    assert "authorization" not in asked.headers
    assert b"scope=repository%3Alibrary%2Fapp%3Apull" in asked.body
    assert guard.given == 1


async def test_an_identity_token_that_is_not_taken_is_a_refusal_without_it(up: FaultUpstream, desk: Desk) -> None:
    up.guard(Guard(refresh="good"))
    desk.write({"a.test": {"identitytoken": "canary"}})
    with pytest.raises(UpstreamRefused, match="identity token of the login was refused") as caught:
        await desk.registry.manifest(NAME, TAG)
    assert "canary" not in str(caught.value)


async def test_an_identity_token_is_of_no_use_for_basic(up: FaultUpstream, desk: Desk) -> None:
    async def challenge(line: Line) -> None:
        await line.answer(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})

    up.always("manifest", challenge)
    desk.write({"a.test": {"identitytoken": "canary"}})
    with pytest.raises(UpstreamRefused, match="log in with a password"):
        await desk.registry.manifest(NAME, TAG)
    assert not any("authorization" in seen.headers for seen in up.ledger)


async def test_a_login_that_changes_holds_at_once(up: FaultUpstream, desk: Desk) -> None:
    up.guard(Guard(user=("me", "new")))
    desk.write({"a.test": {"username": "me", "password": "old"}})
    with pytest.raises(UpstreamRefused):
        await desk.registry.manifest(NAME, TAG)
    desk.write({"a.test": {"username": "me", "password": "new"}})
    assert (await desk.registry.manifest(NAME, TAG)).raw == RAW


async def test_the_longest_path_is_for_its_repositories(up: FaultUpstream, desk: Desk) -> None:
    up.guard()
    entries = {"a.test": {"username": "all", "password": "it"}, "a.test/team": {"username": "team", "password": "it"}}
    desk.write(entries)
    for name in (NAME, "team/app"):
        await desk.registry.manifest(name, TAG)
    assert [seen.headers["authorization"] for seen in up.requests("token")] == [basic("all", "it"), basic("team", "it")]


@pytest.mark.parametrize("user", ["me", "<token>"])
async def test_a_helper_that_is_installed_is_asked(
    up: FaultUpstream, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    helper = tmp_path / "bin" / "docker-credential-cast"
    helper.parent.mkdir()
    helper.write_text(f"""#!/bin/sh\nread server\necho '{{"Username": "{user}", "Secret": "'"$1 $server"'"}}'\n""")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{helper.parent}:{os.environ['PATH']}")
    up.guard(Guard(user=("me", "get a.test"), refresh="get a.test"))
    desk.write({}, credHelpers={"a.test": "cast"})
    assert (await desk.registry.manifest(NAME, TAG)).raw == RAW
    assert [seen.method for seen in up.requests("token")] == ["GET" if user == "me" else "POST"]


async def test_without_an_entry_it_is_asked_anonymously(up: FaultUpstream, desk: Desk) -> None:
    up.guard()
    assert (await desk.registry.manifest(NAME, TAG)).raw == RAW
    assert "authorization" not in up.requests("token")[0].headers
