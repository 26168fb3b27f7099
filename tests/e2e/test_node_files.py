"""Real clients by the files that ``entrepot clients`` writes: through the proxy, and when nobody listens there."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cast.registry import Registry
from tests.e2e import clients
from tests.e2e.clients import Reference
from tests.e2e.stock import APP, GREETING, HUB, Stock, greeting
from tests.process import Entrepot, ProcessFailed, proxying

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

NewStore = Callable[[], Path]
REGISTRIES = "etc/containers/registries.conf.d/50-entrepot.conf"


class Told(NamedTuple):
    """A client, the kind of files that it reads, and what of them it is told by."""

    kind: str
    files: str
    pull: Callable[[Path, Path, Reference, str], bytes]


TOLD = [
    Told("podman", REGISTRIES, clients.skopeo_told),
    Told("crio", REGISTRIES, clients.podman_told),
    Told("containerd", "etc/containerd/certs.d", clients.containerd_told),
]


def write(proxy: Entrepot, kind: str, root: Path, *words: str) -> None:
    address = f"http://{proxy.address}"
    done = proxy.command("clients", kind, "--address", address, "--write", str(root), *words)
    assert done.returncode == 0, done.stderr
    checked = proxy.command("clients", "check", str(root), "--address", address)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("fallback", ["yes", "no"])
@pytest.mark.parametrize("told", TOLD, ids=lambda told: told.pull.__name__)
def test_a_client_pulls_as_it_was_told_while_the_proxy_is_up_and_when_it_is_dead(
    told: Told, fallback: str, images: Stock, upstream: Registry, tmp_path: Path, new_store: NewStore
) -> None:
    with proxying(tmp_path / "entrepot", {APP.registry: {"url": f"http://{upstream.address}"}}) as proxy:
        write(proxy, told.kind, tmp_path, "--fallback", fallback)
        assert told.pull(new_store(), tmp_path / told.files, APP, GREETING) == greeting(APP)
        assert images.shared_layer in proxy.log.read_text()
    if fallback == "yes":
        assert told.pull(new_store(), tmp_path / told.files, APP, GREETING) == greeting(APP)
    else:
        with pytest.raises(ProcessFailed, match="connection refused"):
            told.pull(new_store(), tmp_path / told.files, APP, GREETING)
    upstream.stop()
    layer = f"/v2/{APP.repository}/blobs/{images.shared_layer}"
    transfers = [path for path in upstream.blob_transfers().elements() if path.startswith(layer)]
    assert len(transfers) == (2 if fallback == "yes" else 1)


def test_the_docker_engine_pulls_as_it_was_told(
    images: Stock, hub_proxy: Entrepot, tmp_path: Path, new_store: NewStore
) -> None:
    """Docker Hub itself is not to be reached from a test: that it is asked at all is what a dead proxy shows."""
    write(hub_proxy, "docker", tmp_path)
    config = tmp_path / "etc/docker/daemon.json"
    assert clients.docker_told(new_store(), config, str(HUB), GREETING) == greeting(HUB)
    assert images.shared_layer in hub_proxy.log.read_text()
    hub_proxy.stop()
    with pytest.raises(ProcessFailed, match="registry-1.docker.io"):
        clients.docker_told(new_store(), config, str(HUB), GREETING)
