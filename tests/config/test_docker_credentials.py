"""A Docker config.json that changes, and helpers that are real programs."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.config import DockerConfigAuth, DockerCredentials, FileRefused, docker_credentials, load
from proxy.core.credentials import Credentials, IdentityToken
from tests.config.cast import Write

Helper = Callable[[str, str], None]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.json"


@pytest.fixture
def helper(tmp_path: Path) -> Helper:
    """Installs ``docker-credential-NAME`` with the body of a shell script."""

    def install(name: str, body: str) -> None:
        program = tmp_path / f"docker-credential-{name}"
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)

    return install


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ASKED": str(tmp_path / "asked")}


async def test_the_file_is_read_again_when_it_changes(file: Path) -> None:
    credentials = DockerCredentials(file, ["a.io"], {})
    with pytest.raises(FileRefused, match="No such file"):
        await credentials.login()
    file.write_text('{"auths": {"a.io": {"username": "me", "password": "one"}}}')
    assert await credentials.login() == Credentials("me", "one")
    fresh = file.with_name("fresh")
    fresh.write_text('{"auths": {"a.io": {"username": "me", "password": "two"}}}')
    fresh.replace(file)
    assert await credentials.login() == Credentials("me", "two")
    file.write_text('{"auths": {"a.io": {"auth": "?"}}}')
    with pytest.raises(FileRefused, match=r"config\.json: auths, a\.io: auth is not"):
        await credentials.login()
    file.write_text("{")
    with pytest.raises(FileRefused, match=r"not a Docker config\.json"):
        await credentials.login()


async def test_a_link_that_points_elsewhere_is_a_change(file: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(f'{{"auths": {{"a.io": {{"username": "me", "password": "{name}"}}}}}}')
    file.symlink_to("one")
    credentials = DockerCredentials(file, ["a.io"], {})
    assert await credentials.login() == Credentials("me", "one")
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(file)
    assert await credentials.login() == Credentials("me", "two")


async def test_a_helper_is_asked_once_a_minute_however_many_want_to_know(
    file: Path, tmp_path: Path, helper: Helper, environ: dict[str, str]
) -> None:
    file.write_text('{"credHelpers": {"a.io": "x"}}')
    helper("x", """cat >>"$ASKED"; echo " $1" >>"$ASKED"; echo '{"Username": "<token>", "Secret": "it"}'""")
    now = 0.0
    credentials = DockerCredentials(file, ["a.io"], environ, lambda: now)
    assert set(await asyncio.gather(*(credentials.login() for _ in range(9)))) == {IdentityToken("it")}
    assert (tmp_path / "asked").read_text() == "a.io get\n"
    now = 61.0
    await credentials.login()
    assert (tmp_path / "asked").read_text() == "a.io get\n" * 2


async def test_the_store_is_asked_for_what_the_file_does_not_hold(
    file: Path, helper: Helper, environ: dict[str, str]
) -> None:
    file.write_text('{"auths": {"a.io": {"username": "me", "password": "it"}, "b.io": {}}, "credsStore": "x"}')
    helper("x", """read server; echo '{"Username": "'"$server"'", "Secret": "kept"}'""")
    assert await DockerCredentials(file, ["a.io"], environ).login() == Credentials("me", "it")
    assert await DockerCredentials(file, ["b.io"], environ).login() == Credentials("b.io", "kept")
    helper("x", "echo credentials not found in native keychain; exit 1")
    assert await DockerCredentials(file, ["b.io"], environ).login() is None


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (None, "docker-credential-x is not installed"),
        ("echo hunter2; exit 3", "ended with code 3"),
        ("echo hunter2", "its answer is not JSON"),
        ("exec sleep 60", "gave no answer within"),
        ("kill -9 $$", "ended with code -9"),
    ],
)
async def test_a_helper_that_fails_is_told_in_words(
    body: str | None,
    sentence: str,
    file: Path,
    helper: Helper,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(docker_credentials, "HELPER_LIMIT", 0.5)
    file.write_text('{"credHelpers": {"a.io": "x"}}')
    if body is not None:
        helper("x", body)
    began = time.monotonic()
    with pytest.raises(FileRefused, match=sentence) as caught:
        await DockerCredentials(file, ["a.io"], environ).login()
    assert "hunter2" not in str(caught.value)
    assert time.monotonic() - began < 30


async def test_the_loop_goes_on_while_a_helper_thinks(file: Path, helper: Helper, environ: dict[str, str]) -> None:
    file.write_text('{"credHelpers": {"a.io": "x"}}')
    os.mkfifo(environ["ASKED"])
    helper("x", """cat "$ASKED"; echo '{"Username": "me", "Secret": "it"}'""")
    waiting = asyncio.ensure_future(DockerCredentials(file, ["a.io"], environ).login())
    opened = await asyncio.to_thread(os.open, environ["ASKED"], os.O_WRONLY)  # returns when the helper reads
    assert not waiting.done()
    os.close(opened)
    assert await waiting == Credentials("me", "it")


async def test_a_name_with_a_slash_is_no_helper(file: Path, environ: dict[str, str]) -> None:
    file.write_text('{"credHelpers": {"a.io": "../../bin/x"}}')
    with pytest.raises(FileRefused, match="not installed"):
        await DockerCredentials(file, ["a.io"], environ).login()


def test_the_configuration_names_the_file_from_its_own_folder(write: Write, file: Path) -> None:
    file.write_text('{"auths": {}}')
    loaded = load(write("upstreams: {a.io: {auth: {type: dockerconfig, file: config.json}}}\n"), {"HOME": "/home/me"})
    auth = loaded.settings.upstreams["a.io"].auth
    assert isinstance(auth, DockerConfigAuth)
    assert auth.file == file
