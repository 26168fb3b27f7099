"""The files of TLS of a running proxy: other contents, other names, and what does not fit together."""

import json
import signal
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cast.authority import Authority
from tests.front.handshakes import storm
from tests.process import Entrepot, get, proxying

NOWHERE = {"registry.test": {"url": "http://127.0.0.1:9"}}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> dict[str, str]:
    put(authority.files(), tmp_path)
    return {"certificate": str(tmp_path / "tls.crt"), "key": str(tmp_path / "tls.key")}


@pytest.fixture
def proxy(tmp_path: Path, files: dict[str, str]) -> Iterator[Entrepot]:
    with proxying(tmp_path / "entrepot", NOWHERE, tls=files, loopback="127.0.0.1:0") as proxy:
        yield proxy


def put(pair: tuple[Path, Path], folder: Path) -> None:
    for made, name in zip(pair, ("tls.crt", "tls.key"), strict=True):
        (folder / name).write_bytes(made.read_bytes())
        (folder / name).chmod(0o600)


def shown(proxy: Entrepot) -> str:
    """The certificate that a new connection is shown, as PEM."""
    return ssl.get_server_certificate(("127.0.0.1", proxy.port))


def status(proxy: Entrepot) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(get(proxy.admin, "/api/v1/status").body)
    return found


def leaf(certificate: Path) -> str:
    return certificate.read_text()


def until(proxy: Entrepot, holds: Callable[[], bool]) -> None:
    proxy.process.wait_until(holds)


def test_new_contents_hold_without_a_word_and_a_pair_that_does_not_fit_changes_nothing(
    proxy: Entrepot, authority: Authority, tmp_path: Path
) -> None:
    before, new = shown(proxy), authority.files(days=20)
    (tmp_path / "tls.crt").write_bytes(new[0].read_bytes())
    until(proxy, lambda: "tls" in status(proxy)["degraded"])
    assert "is not the key of the certificate" in status(proxy)["degraded"]["tls"]
    assert b"degraded" in get(proxy.admin, "/readyz").body
    assert shown(proxy) == before
    put(new, tmp_path)
    until(proxy, lambda: "tls" not in status(proxy)["degraded"])
    assert shown(proxy) == leaf(new[0])
    assert status(proxy)["tls"]["files_refused"] == 1


def test_a_reload_takes_other_names_and_refuses_what_does_not_fit(
    proxy: Entrepot, authority: Authority, tmp_path: Path, files: dict[str, str]
) -> None:
    before, (certificate, key) = shown(proxy), authority.files(days=20)
    key.chmod(0o600)
    configure(proxy, files | {"certificate": str(certificate)})
    proxy.process.signal(signal.SIGHUP)
    until(proxy, lambda: status(proxy)["reload"] is not None)
    assert shown(proxy) == before
    assert "is not the key of the certificate" in status(proxy)["reload"]["refused"]
    configure(proxy, {"certificate": str(certificate), "key": str(key)})
    assert proxy.command("reload").returncode == 0
    assert shown(proxy) == leaf(certificate)
    assert set(status(proxy)["reload"]["applied"]) == {"tls.certificate", "tls.key"}


def test_tls_that_is_turned_off_waits_for_a_start(proxy: Entrepot) -> None:
    before = shown(proxy)
    configure(proxy, None)
    assert proxy.command("reload").returncode == 0
    assert shown(proxy) == before
    assert set(status(proxy)["reload"]["needs_restart"]) == {"tls.certificate", "tls.key"}


def configure(proxy: Entrepot, tls: dict[str, str] | None) -> None:
    settings = yaml.safe_load(proxy.config.read_text())
    settings.pop("tls", None)
    proxy.config.write_text(yaml.safe_dump(settings | ({"tls": tls} if tls is not None else {})))


def test_beside_it_is_a_plain_listener_for_this_machine(proxy: Entrepot) -> None:
    port = int(proxy.log.read_text().partition("plain pulls on 127.0.0.1:")[2].split()[0])
    assert get(port, "/v2/").status == 200
    assert get(port, "/v2/", {"Host": "evil.example.com"}).status == 421
    assert get(proxy.port, "/v2/").status == 400  # plain HTTP to the port of TLS


def test_metrics_tell_of_it(proxy: Entrepot) -> None:
    shown(proxy)
    told = get(proxy.admin, "/metrics").body.decode()
    assert 'entrepot_tls_handshakes_total{result="full"} ' in told
    assert "entrepot_tls_certificate_ends_seconds " in told


def test_a_storm_of_handshakes_costs_no_pull_while_the_certificate_changes(tmp_path: Path) -> None:
    """The short form of ``python -m tests.front.handshakes``."""
    found = storm(tmp_path, 600, 16)
    assert found.results == {"ok": 600}
    assert found.handshakes["failed"] == 0
