"""The token of the admin listener, as commands and strangers meet it."""

import http.client
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from tests.process import PROXY, Entrepot, listens_on, proxying

TOKEN = "canary-of-the-operator"
ELSEWHERE = {"X-Forwarded-For": "10.0.0.9"}  # as a proxy on this machine says


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Entrepot]:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "token").chmod(0o600)
    settings = {"admin_token_file": str(tmp_path / "token"), "admin_socket": str(tmp_path / "admin.sock")}
    nowhere = {"registry.test": {"url": "http://127.0.0.1:9"}}
    with proxying(tmp_path / "entrepot", nowhere, **settings) as running:
        yield running


def asked(proxy: Entrepot, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.admin, timeout=60)
    try:
        body = b"{}" if method == "POST" else None
        connection.request(method, path, body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, answer.headers.get("WWW-Authenticate", ""), answer.read().decode()
    finally:
        connection.close()


def test_strangers_need_it_for_all_but_health_and_metrics(proxy: Entrepot) -> None:
    right = ELSEWHERE | {"Authorization": f"Bearer {TOKEN}"}
    wrong = ELSEWHERE | {"Authorization": f"Bearer {TOKEN}x"}
    for path in ("/healthz", "/readyz", "/metrics"):
        assert asked(proxy, "GET", path, ELSEWHERE)[0] == asked(proxy, "GET", path, wrong)[0] == 200
    digest = "sha256:" + "0" * 64
    for method, path in (
        ("GET", "/api/v1/status"),
        ("POST", "/api/v1/reload"),
        ("POST", "/api/v1/pins"),
        ("GET", f"/api/v1/contents/{digest}"),
        ("PUT", f"/api/v1/contents/{digest}?upstream=registry.test"),
    ):
        for headers in (ELSEWHERE, wrong):
            status, challenge, text = asked(proxy, method, path, headers)
            assert (status, challenge) == (401, 'Bearer realm="entrepot admin"'), path
            assert TOKEN not in text
        assert asked(proxy, method, path, right)[0] not in (401, 403), path
    assert TOKEN not in proxy.log.read_text()


def command(proxy: Entrepot, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environ = {**os.environ, "ENTREPOT_ADMIN_URL": f"127.0.0.1:{proxy.admin}", **variables}
    return subprocess.run([*PROXY, *words], capture_output=True, text=True, timeout=60, check=False, env=environ)


def test_commands_show_it_from_a_file_when_they_are_told(proxy: Entrepot, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text(f"{TOKEN}x")
    assert command(proxy, "status", ENTREPOT_ADMIN_TOKEN_FILE=str(tmp_path / "token")).returncode == 0
    refused = command(proxy, "reload", ENTREPOT_ADMIN_TOKEN_FILE=str(tmp_path / "wrong"))
    assert refused.returncode == 2
    assert "the token is not the one of admin_token_file" in refused.stderr
    missing = command(proxy, "status", ENTREPOT_ADMIN_TOKEN_FILE=str(tmp_path / "missing"))
    assert (missing.returncode, "ENTREPOT_ADMIN_TOKEN_FILE: cannot read" in missing.stderr) == (2, True)
    assert TOKEN not in refused.stderr + missing.stderr


def test_on_the_socket_nobody_needs_it_and_a_reload_takes_another(proxy: Entrepot, tmp_path: Path) -> None:
    assert listens_on(tmp_path / "admin.sock")
    done = command(proxy, "status", "--json", ENTREPOT_ADMIN_URL=f"unix:{tmp_path}/admin.sock")
    assert done.returncode == 0, done.stderr
    other = tmp_path / "other"
    other.write_text("another-token-of-ours")
    other.chmod(0o600)
    document = yaml.safe_load(proxy.config.read_text())
    proxy.config.write_text(yaml.safe_dump({**document, "admin_token_file": str(other)}))
    told = json.loads(command(proxy, "reload", "--json").stdout)
    assert (told["applied"], told["needsRestart"]) == (["admin_token_file"], [])
    assert command(proxy, "status", ENTREPOT_ADMIN_TOKEN_FILE=str(other)).returncode == 0
    assert command(proxy, "status", ENTREPOT_ADMIN_TOKEN_FILE=str(tmp_path / "token")).returncode == 2
