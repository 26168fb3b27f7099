"""Real clients pull with what they have for a real registry, which decides: no login is configured here."""

from collections.abc import Callable, Iterator
from pathlib import Path

import bcrypt
import pytest

from tests.cast.registry import Registry
from tests.e2e import clients
from tests.e2e.images import unpacked
from tests.e2e.stock import APP, GREETING, NAME, Stock, greeting
from tests.process import Entrepot, ProcessFailed, proxying, run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

WORDS = {"alice": "open sesame", "bob": "open barley"}
WRONG = "open wheat"


@pytest.fixture
def members(tmp_path: Path) -> Path:
    file = tmp_path / "members"
    hashed = {user: bcrypt.hashpw(word.encode(), bcrypt.gensalt(5)).decode() for user, word in WORDS.items()}
    file.write_text("".join(f"{user}:{line}\n" for user, line in hashed.items()))
    return file


@pytest.fixture
def registry(images: Stock, members: Path, tmp_path: Path) -> Iterator[Registry]:
    """Whoever is a member may pull."""
    auth = {"htpasswd": {"realm": "members", "path": str(members)}}
    with Registry(tmp_path / "guarded", images.storage, {"auth": auth}).running() as registry:
        yield registry


@pytest.fixture
def proxy(registry: Registry, tmp_path: Path) -> Iterator[Entrepot]:
    """What its clients send is nowhere in what it leaves behind."""
    upstreams = {NAME: {"url": f"http://{registry.address}", "access": "upstream", "access_ttl": "1s"}}
    with proxying(tmp_path / "entrepot", upstreams) as entrepot:
        yield entrepot
    left = b"".join(file.read_bytes() for file in (tmp_path / "entrepot").rglob("*") if file.is_file())
    for secret in (*WORDS.values(), WRONG):
        assert secret.encode() not in left


def skopeo(store: Path, proxy: str, *login: str) -> bytes:
    source = f"docker://{proxy}/{APP}"
    env = {"HOME": str(store), "REGISTRY_AUTH_FILE": str(store / "auth.json")}
    run(["skopeo", "copy", *login, "--src-tls-verify=false", source, f"oci:{store / 'out'}:{APP.tag}"], env)
    return unpacked(store / "out", APP.tag, GREETING)


def test_skopeo_pulls_with_its_login_for_the_registry_until_that_ends(
    proxy: Entrepot, registry: Registry, members: Path, new_store: Callable[[], Path]
) -> None:
    hers, his = (["--src-creds", f"{user}:{word}"] for user, word in WORDS.items())
    assert skopeo(new_store(), proxy.address, *hers) == greeting(APP)
    once = registry.blob_transfers()
    assert skopeo(new_store(), proxy.address, *his) == greeting(APP)
    assert registry.blob_transfers() == once, "the bytes come once, for both"
    with pytest.raises(ProcessFailed, match=r"(?i)authentication required|unauthorized"):
        skopeo(new_store(), proxy.address)
    with pytest.raises(ProcessFailed, match=r"(?i)invalid username/password|unauthorized"):
        skopeo(new_store(), proxy.address, "--src-creds", f"alice:{WRONG}")
    registry.stop()
    assert skopeo(new_store(), proxy.address, *hers) == greeting(APP)  # an outage takes nothing away
    with pytest.raises(ProcessFailed):
        skopeo(new_store(), proxy.address, "--src-creds", f"alice:{WRONG}")
    members.write_text(next(line for line in members.read_text().splitlines() if line.startswith("bob:")) + "\n")
    registry.start()

    def refused() -> bool:
        try:
            skopeo(new_store(), proxy.address, *hers)
        except ProcessFailed:
            return True
        return False

    proxy.process.wait_until(refused, patience=60)
    assert skopeo(new_store(), proxy.address, *his) == greeting(APP)


def test_podman_logs_in_with_the_registrys_password_and_pulls(proxy: Entrepot, new_store: Callable[[], Path]) -> None:
    store = new_store()
    env = {"HOME": str(store), "REGISTRY_AUTH_FILE": str(store / "auth.json")}
    login = ["podman", "login", "--tls-verify=false", "--username", "alice", "--password"]
    with pytest.raises(ProcessFailed, match=r"(?i)invalid username/password"):
        run([*login, WRONG, proxy.address], env)
    assert b"Login Succeeded" in run([*login, WORDS["alice"], proxy.address], env)
    base = ["podman", "--root", str(store / "root"), "--runroot", str(store / "run"), "--tmpdir", str(store / "tmp")]
    base += ["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]
    run([*base, "pull", "--quiet", "--tls-verify=false", f"{proxy.address}/{APP}"], env)


def test_docker_logs_in_with_the_registrys_password_and_pulls(proxy: Entrepot, new_store: Callable[[], Path]) -> None:
    store = new_store()
    config = store / "daemon.json"
    config.write_text("{}")
    with clients.dockerd(store, config) as host:
        cli = ["docker", "--config", str(store / "config"), "--host", host]
        login = [*cli, "login", "--username", "bob", "--password"]
        with pytest.raises(ProcessFailed, match=r"(?i)unauthorized"):
            run([*login, WRONG, proxy.address])
        run([*login, WORDS["bob"], proxy.address])
        run([*cli, "pull", "--quiet", f"{proxy.address}/{APP}"])


def test_containerd_pulls_by_a_mirror_with_its_login_for_the_registry(
    proxy: Entrepot, new_store: Callable[[], Path]
) -> None:
    with clients.containerd_running(new_store()) as socket:
        ctr = ["ctr", "--address", str(socket), "images", "pull", "--plain-http", "--snapshotter", "native"]
        with pytest.raises(ProcessFailed, match=r"401|(?i:unauthorized)|(?i:authorization failed)"):
            run([*ctr, "--user", f"alice:{WRONG}", f"{proxy.address}/{APP}"])
        run([*ctr, "--user", f"alice:{WORDS['alice']}", f"{proxy.address}/{APP}"])
