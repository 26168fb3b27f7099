"""Real clients by the files that ``entrepot clients`` writes: through the proxy, and when nobody listens there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from proxy.cli import app
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


def write(proxy: Entrepot, kind: str, root: Path, fallback: str = "yes") -> str:
    """Gives back what a dead proxy means, as the files are read."""
    root.mkdir(exist_ok=True)
    at = ["--address", f"http://{proxy.address}", "--config", str(proxy.config)]
    done = CliRunner().invoke(app, ["clients", kind, *at, "--write", str(root), "--fallback", fallback])
    assert done.exit_code == 0, done.output
    [way] = json.loads(CliRunner().invoke(app, ["clients", "check", str(root), *at, "--json"]).stdout)
    assert (way["proxy"]["up"]["goes"], way["troubles"]) == ("through the proxy", [])
    return str(way["proxy"]["dead"]["goes"])


@pytest.mark.parametrize("told", TOLD, ids=lambda told: told.pull.__name__)
def test_a_client_pulls_as_it_was_told_while_the_proxy_is_up_and_when_it_is_dead(
    told: Told, images: Stock, upstream: Registry, tmp_path: Path, new_store: NewStore
) -> None:
    free, bound = tmp_path / "free", tmp_path / "bound"
    with proxying(tmp_path / "entrepot", {APP.registry: {"url": f"http://{upstream.address}"}}) as proxy:
        assert write(proxy, told.kind, free, "yes") == "directly"
        assert write(proxy, told.kind, bound, "no") == "fails"
        for root in (free, bound):
            assert told.pull(new_store(), root / told.files, APP, GREETING) == greeting(APP)
        assert proxy.log.read_text().count(f"/blobs/{images.shared_layer}") == 2
    assert told.pull(new_store(), free / told.files, APP, GREETING) == greeting(APP)
    with pytest.raises(ProcessFailed, match="connection refused"):
        told.pull(new_store(), bound / told.files, APP, GREETING)
    upstream.stop()
    layer = f"/v2/{APP.repository}/blobs/{images.shared_layer}"
    transfers = [path for path in upstream.blob_transfers().elements() if path.startswith(layer)]
    assert len(transfers) == 2  # one for the proxy, one for the client whose proxy was dead


def test_the_docker_engine_pulls_as_it_was_told(
    images: Stock, hub_proxy: Entrepot, tmp_path: Path, new_store: NewStore
) -> None:
    """Docker Hub itself is not to be reached from a test: that it is asked at all is what a dead proxy shows."""
    assert write(hub_proxy, "docker", tmp_path) == "directly"
    config = tmp_path / "etc/docker/daemon.json"
    assert clients.docker_told(new_store(), config, str(HUB), GREETING) == greeting(HUB)
    hub_proxy.says(images.shared_layer)
    hub_proxy.stop()
    with pytest.raises(ProcessFailed, match=r"registry-1\.docker\.io"):
        clients.docker_told(new_store(), config, str(HUB), GREETING)
