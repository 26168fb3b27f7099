"""``entrepot clients`` as a person types it."""

import json
import ssl
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from proxy.cli import app
from proxy.clients.kinds import SETUPS
from tests.cast.authority import Authority

ADDRESS = ["--address", "http://10.0.0.5:5000"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "entrepot.yaml"
    path.write_text(
        "upstreams: {docker.io: {}, ghcr.io: {auth: {type: basic, username: a, password_file: /nowhere}}}\n"
    )
    return path


def clients(config: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["clients", *words, "--config", str(config)])


@pytest.mark.parametrize("kind", SETUPS)
def test_files_are_printed_with_their_paths_and_written_as_printed(kind: str, config: Path, tmp_path: Path) -> None:
    printed = clients(config, kind, *ADDRESS, "--json")
    assert printed.exit_code == 0, printed.output
    files = json.loads(printed.stdout)["files"]
    plain = clients(config, kind, *ADDRESS).stdout
    root = tmp_path / "root"
    root.mkdir()
    written = clients(config, kind, *ADDRESS, "--write", str(root))
    assert written.exit_code == 0, written.output
    for file in files:
        assert f"==> {file['path']} <==\n{file['text']}" in plain
        assert (root / file["path"].lstrip("/")).read_text() == file["text"]
        assert f"written {root}{file['path']}" in written.stdout


def test_what_is_written_is_checked_to_do(config: Path, tmp_path: Path) -> None:
    clients(config, "podman", *ADDRESS, "--write", str(tmp_path), "--fallback", "no")
    shown = clients(config, "check", str(tmp_path), *ADDRESS)
    assert shown.exit_code == 0, shown.output
    row = next(line for line in shown.stdout.splitlines() if "docker.io" in line)
    assert row.split("  ")[0] == "podman"
    assert [word in row for word in ("through the proxy", "waits without end", "fails")] == [True] * 3
    [hub, _] = json.loads(clients(config, "check", str(tmp_path), *ADDRESS, "--json").stdout)
    assert hub["proxy"]["up"]["decided_by"] == "/etc/containers/registries.conf.d/50-entrepot.conf:4"


def test_what_is_wrong_is_told_with_what_to_do(config: Path, tmp_path: Path) -> None:
    (tmp_path / "etc/docker").mkdir(parents=True)
    (tmp_path / "etc/docker/daemon.json").write_text('{"registry-mirrors": ["https://10.0.0.5:5000"]}')
    shown = clients(config, "check", str(tmp_path), *ADDRESS)
    assert shown.exit_code == 1
    assert "/etc/docker/daemon.json:1: https://10.0.0.5:5000 is asked by TLS" in shown.stdout
    assert "  write http://10.0.0.5:5000" in shown.stdout
    refused = clients(config, "docker", *ADDRESS, "--write", str(tmp_path))
    assert (refused.exit_code, "not written by this command" in refused.stderr) == (1, True)
    assert "Nothing was written" in refused.stderr


def test_a_root_without_clients_is_no_success(config: Path, tmp_path: Path) -> None:
    assert clients(config, "check", str(tmp_path)).exit_code == 1


@pytest.mark.parametrize("address", ["ftp://a", "http://user:secret@a", "http://a/b"])
def test_a_wrong_address_is_wrong_usage(address: str, config: Path) -> None:
    refused = clients(config, "containerd", "--address", address)
    assert (refused.exit_code, "--address: write http://HOST:PORT" in refused.stderr) == (2, True)
    assert "secret" not in refused.output


def test_certificates_go_where_each_client_looks(config: Path, tmp_path: Path) -> None:
    ca = Authority(tmp_path).ca_file
    at = ["--address", "https://entrepot.internal:5443", "--ca", str(ca), "--write", str(tmp_path)]
    places = {
        "containerd": "etc/entrepot/ca.crt",
        "docker": "etc/docker/certs.d/entrepot.internal:5443/ca.crt",
        "podman": "etc/containers/certs.d/entrepot.internal:5443/ca.crt",
    }
    for kind, place in places.items():
        done = clients(config, kind, *at)
        assert done.exit_code == 0, done.output
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(tmp_path / place)
        assert len(context.get_ca_certs()) == 1
    hosts = (tmp_path / "etc/containerd/certs.d/docker.io/hosts.toml").read_text()
    assert 'ca = "/etc/entrepot/ca.crt"' in hosts
    assert clients(config, "containerd", *ADDRESS, "--ca", str(ca)).exit_code == 2
