"""Real clients pull over TLS, from a proxy whose certificate an authority of the test's own has signed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cast.authority import Authority
from tests.cast.registry import Registry
from tests.e2e import clients
from tests.e2e.images import unpacked
from tests.e2e.stock import APP, GREETING, NAME, greeting
from tests.process import Entrepot, ProcessFailed, proxying, run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

NewStore = Callable[[], Path]
Pull = Callable[[Path, Path, Entrepot], bytes]
"""(empty store, root of the files that ``entrepot clients`` wrote, proxy) to a file of the image. Raises
ProcessFailed."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def proxy(upstream: Registry, authority: Authority, tmp_path: Path) -> Iterator[Entrepot]:
    certificate, key = authority.files()
    tls = {"certificate": str(certificate), "key": str(key)}
    upstreams = {NAME: {"url": f"http://{upstream.address}"}}
    with proxying(tmp_path / "entrepot", upstreams, tls=tls) as proxy:
        yield proxy


@pytest.fixture
def demanding(upstream: Registry, authority: Authority, tmp_path: Path) -> Iterator[Entrepot]:
    """Lets nobody in without a certificate."""
    certificate, key = authority.files()
    tls = {"certificate": str(certificate), "key": str(key), "client_ca": str(authority.ca_file)}
    upstreams = {NAME: {"url": f"http://{upstream.address}"}}
    with proxying(tmp_path / "entrepot", upstreams, tls=tls) as proxy:
        yield proxy


def written(kind: str, proxy: Entrepot, ca_file: Path, root: Path) -> Path:
    """What ``entrepot clients`` writes for a node."""
    root.mkdir()
    address = ["--address", f"https://{proxy.address}", "--ca", str(ca_file), "--fallback", "no"]
    done = proxy.command("clients", kind, *address, "--write", str(root))
    assert done.returncode == 0, done.stdout + done.stderr
    return root


def by_skopeo(store: Path, ca_file: Path, proxy: Entrepot, certificate: tuple[Path, Path] | None = None) -> bytes:
    """By the proxy's own name; certificates as skopeo(1) wants them, in one folder."""
    folder = store / "certs"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(ca_file.read_bytes())
    if certificate is not None:
        (folder / "client.cert").write_bytes(certificate[0].read_bytes())
        (folder / "client.key").write_bytes(certificate[1].read_bytes())
    copy = ["skopeo", "copy", "--src-cert-dir", str(folder), "--preserve-digests"]
    run([*copy, f"docker://{proxy.address}/{APP}", f"oci:{store / 'out'}:{APP.tag}"])
    return unpacked(store / "out", APP.tag, GREETING)


def test_skopeo(proxy: Entrepot, upstream: Registry, authority: Authority, new_store: NewStore) -> None:
    assert by_skopeo(new_store(), authority.ca_file, proxy) == greeting(APP)
    upstream.stop()
    assert by_skopeo(new_store(), authority.ca_file, proxy) == greeting(APP)


def test_skopeo_with_a_certificate_of_its_own_and_without(
    demanding: Entrepot, authority: Authority, new_store: NewStore
) -> None:
    own = authority.client("skopeo", ["ci"])
    assert by_skopeo(new_store(), authority.ca_file, demanding, own) == greeting(APP)
    with pytest.raises(ProcessFailed, match="certificate"):
        by_skopeo(new_store(), authority.ca_file, demanding)


def test_a_client_that_does_not_know_the_authority_pulls_nothing(
    proxy: Entrepot, new_store: NewStore, tmp_path: Path
) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    with pytest.raises(ProcessFailed, match="unknown authority"):
        by_skopeo(new_store(), Authority(elsewhere).ca_file, proxy)


def test_podman(
    proxy: Entrepot, authority: Authority, new_store: NewStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    root = written("podman", proxy, authority.ca_file, tmp_path / "node")
    [registries] = root.glob("etc/containers/registries.conf.d/*.conf")
    assert clients.podman_told(new_store(), registries, APP, GREETING) == greeting(APP)


def test_containerd(proxy: Entrepot, authority: Authority, new_store: NewStore, tmp_path: Path) -> None:
    """Its hosts.toml names the authority's file by the path that it has on the node."""
    root = written("containerd", proxy, authority.ca_file, tmp_path / "node")
    hosts = root / "etc/containerd/certs.d"
    for file in hosts.glob("*/hosts.toml"):
        file.write_text(file.read_text().replace('"/etc/', f'"{root}/etc/'))
    assert clients.containerd_told(new_store(), hosts, APP, GREETING) == greeting(APP)


def test_docker(proxy: Entrepot, authority: Authority, new_store: NewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    store = new_store()
    config = store / "daemon.json"
    config.write_text("{}")
    assert clients.docker_told(store, config, f"{proxy.address}/{APP}", GREETING) == greeting(APP)
