"""The rig: one stock of images, and for each test its own upstream, its own proxy and empty client stores."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cast.registry import Registry
from tests.e2e.scratch import scratch
from tests.e2e.stock import HUB, NAME, Stock, stock
from tests.process import Entrepot, proxying

TOOLS = ["docker-registry", "skopeo", "podman", "containerd", "ctr", "dockerd", "docker", "runc"]


@pytest.fixture(scope="session")
def clients_installed() -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and {', '.join(missing) or 'nothing else'} (apt-get install; see tests/run)")


@pytest.fixture(scope="session")
def images(clients_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Stock:
    return stock(tmp_path_factory.mktemp("stock"))


@pytest.fixture
def upstream(images: Stock, tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "upstream", images.storage).running() as registry:
        yield registry


@pytest.fixture
def proxy(upstream: Registry, tmp_path: Path) -> Iterator[Entrepot]:
    """Knows one upstream and no default: a request that does not say which registry it means is refused."""
    with proxying(tmp_path / "entrepot", {NAME: {"url": f"http://{upstream.address}"}}) as entrepot:
        yield entrepot


@pytest.fixture
def hub_proxy(upstream: Registry, tmp_path: Path) -> Iterator[Entrepot]:
    """Stands before Docker Hub, and takes bare paths for it."""
    hub = {HUB.registry: {"url": f"http://{upstream.address}"}}
    with proxying(tmp_path / "entrepot", hub, default_upstream=HUB.registry) as entrepot:
        yield entrepot


@pytest.fixture
def new_store() -> Iterator[Callable[[], Path]]:
    """Makes empty client stores."""
    with scratch() as folder:
        count = iter(range(1000))

        def make() -> Path:
            store = folder / str(next(count))
            store.mkdir()
            return store

        yield make
