"""Real clients that log in: by the token flow, with a wrong password, and without any."""

import base64
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import bcrypt
import pytest

from tests.cast.registry import Registry
from tests.e2e import clients
from tests.e2e.images import unpacked
from tests.e2e.stock import APP, GREETING, NAME, greeting
from tests.process import Entrepot, ProcessFailed, proxying, run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

USER, PASSWORD, WRONG = "alice", "open sesame", "open barley"
LOGIN = f"{USER}:{PASSWORD}"


@pytest.fixture
def htpasswd(tmp_path: Path) -> Path:
    file = tmp_path / "htpasswd"
    file.write_bytes(USER.encode() + b":" + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)) + b"\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def guarded(upstream: Registry, htpasswd: Path, tmp_path: Path) -> Iterator[Entrepot]:
    """Whoever is not Alice pulls nothing."""
    upstreams = {NAME: {"url": f"http://{upstream.address}"}}
    allow = [{"who": [f"user:{USER}"], "pull": [f"{NAME}/*"]}]
    with proxying(tmp_path / "entrepot", upstreams, clients={"htpasswd": str(htpasswd)}, allow=allow) as entrepot:
        yield entrepot
        for secret in (PASSWORD, WRONG):
            assert secret not in entrepot.log.read_text()


@pytest.fixture
def half_open(upstream: Registry, htpasswd: Path, tmp_path: Path) -> Iterator[Entrepot]:
    """Whoever comes pulls."""
    upstreams = {NAME: {"url": f"http://{upstream.address}"}}
    allow = [{"who": ["anonymous"], "pull": [f"{NAME}/*"]}]
    with proxying(tmp_path / "entrepot", upstreams, clients={"htpasswd": str(htpasswd)}, allow=allow) as entrepot:
        yield entrepot


def skopeo(store: Path, proxy: str, *login: str) -> bytes:
    source = f"docker://{proxy}/{APP}"
    env = {"HOME": str(store), "REGISTRY_AUTH_FILE": str(store / "auth.json")}
    run(["skopeo", "copy", *login, "--src-tls-verify=false", source, f"oci:{store / 'out'}:{APP.tag}"], env)
    return unpacked(store / "out", APP.tag, GREETING)


def test_skopeo_pulls_with_its_login_and_not_without(guarded: Entrepot, new_store: Callable[[], Path]) -> None:
    assert skopeo(new_store(), guarded.address, "--src-creds", LOGIN) == greeting(APP)
    with pytest.raises(ProcessFailed, match=r"(?i)authentication required|unauthorized"):
        skopeo(new_store(), guarded.address)
    with pytest.raises(ProcessFailed, match=r"(?i)invalid username/password|unauthorized"):
        skopeo(new_store(), guarded.address, "--src-creds", f"{USER}:{WRONG}")
    assert skopeo(new_store(), guarded.address, "--src-creds", LOGIN) == greeting(APP)


def test_skopeo_without_a_login_pulls_what_is_for_everybody(half_open: Entrepot, new_store: Callable[[], Path]) -> None:
    assert half_open.get("/v2/").status == 401
    assert skopeo(new_store(), half_open.address) == greeting(APP)
    with pytest.raises(ProcessFailed, match=r"(?i)invalid username/password|unauthorized"):
        skopeo(new_store(), half_open.address, "--src-creds", f"{USER}:{WRONG}")


def test_podman_logs_in_and_pulls(guarded: Entrepot, new_store: Callable[[], Path]) -> None:
    store = new_store()
    env = {"HOME": str(store), "REGISTRY_AUTH_FILE": str(store / "auth.json")}
    login = ["podman", "login", "--tls-verify=false", "--username", USER, "--password"]
    with pytest.raises(ProcessFailed, match=r"(?i)invalid username/password"):
        run([*login, WRONG, guarded.address], env)
    assert b"Login Succeeded" in run([*login, PASSWORD, guarded.address], env)
    base = ["podman", "--root", str(store / "root"), "--runroot", str(store / "run"), "--tmpdir", str(store / "tmp")]
    base += ["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]
    pull = [*base, "pull", "--quiet", "--tls-verify=false", f"{guarded.address}/{APP}"]
    run(pull, env)
    (store / "none.json").write_text("{}")
    with pytest.raises(ProcessFailed, match=r"(?i)authentication required|unauthorized"):
        run(pull, {**env, "REGISTRY_AUTH_FILE": str(store / "none.json")})


def test_containerd_pulls_with_its_login(guarded: Entrepot, new_store: Callable[[], Path]) -> None:
    with clients.containerd_running(new_store()) as socket:
        ctr = ["ctr", "--address", str(socket), "images", "pull", "--plain-http", "--snapshotter", "native"]
        with pytest.raises(ProcessFailed, match=r"401|(?i:unauthorized)|(?i:authorization failed)"):
            run([*ctr, "--user", f"{USER}:{WRONG}", f"{guarded.address}/{APP}"])
        run([*ctr, "--user", LOGIN, f"{guarded.address}/{APP}"])


def test_containerd_pulls_by_a_header_of_its_hosts_file(guarded: Entrepot, new_store: Callable[[], Path]) -> None:
    store = new_store()
    hosts = store / "certs.d" / APP.registry
    hosts.mkdir(parents=True)
    encoded = _encoded(LOGIN)
    (hosts / "hosts.toml").write_text(
        f'[host."http://{guarded.address}"]\ncapabilities = ["pull", "resolve"]\n'
        f'[host."http://{guarded.address}".header]\nAuthorization = "Basic {encoded}"\n'
    )
    assert clients.containerd_told(store, hosts.parent, APP, GREETING) == greeting(APP)


def test_docker_logs_in_and_pulls(guarded: Entrepot, new_store: Callable[[], Path]) -> None:
    store = new_store()
    config = store / "daemon.json"
    config.write_text("{}")
    with clients.dockerd(store, config) as host:
        cli = ["docker", "--config", str(store / "config"), "--host", host]
        login = [*cli, "login", "--username", USER, "--password"]
        with pytest.raises(ProcessFailed, match=r"(?i)unauthorized"):
            run([*login, WRONG, guarded.address])
        run([*login, PASSWORD, guarded.address])
        run([*cli, "pull", "--quiet", f"{guarded.address}/{APP}"])


def test_who_was_let_in_is_let_out_within_a_second(
    guarded: Entrepot, htpasswd: Path, new_store: Callable[[], Path]
) -> None:
    """With a token too, that had minutes to live."""
    answer = guarded.get("/token?service=entrepot", {"Authorization": "Basic " + _encoded(LOGIN)})
    bearer = {"Authorization": "Bearer " + json.loads(answer.body)["token"]}
    path = f"/v2/{NAME}/{APP.repository}/manifests/{APP.tag}"
    assert guarded.get(path, bearer).status == 200
    fresh = htpasswd.with_suffix(".new")
    fresh.write_bytes(b"bob:" + bcrypt.hashpw(b"x", bcrypt.gensalt(5)) + b"\n")
    os.replace(fresh, htpasswd)
    guarded.process.wait_until(lambda: guarded.get(path, bearer).status == 401, patience=5)
    with pytest.raises(ProcessFailed):
        skopeo(new_store(), guarded.address, "--src-creds", LOGIN)


def _encoded(login: str) -> str:
    return base64.b64encode(login.encode()).decode()
