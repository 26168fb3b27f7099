"""Two sites without a network between them."""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from proxy.cli import app
from proxy.core.names import Digest
from tests.process import Answer, Entrepot, proxying

NOWHERE = {"url": "http://127.0.0.1:9"}
UPSTREAMS = {"docker.io": NOWHERE, "quay.io": NOWHERE, "private.test": NOWHERE}


class Said(NamedTuple):
    status: int
    out: str


class Site:
    """A running proxy, and commands to it: in this process, where the command itself is not what dies."""

    def __init__(self, entrepot: Entrepot) -> None:
        self.entrepot = entrepot

    def __call__(self, *words: object) -> Said:
        argv = [*map(str, words), "--admin", f"127.0.0.1:{self.entrepot.admin}"]
        result = CliRunner().invoke(app, argv)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Said(result.exit_code, result.output)

    def does(self, *words: object) -> str:
        """What must succeed."""
        said = self(*words)
        assert said.status == 0, said.out
        return said.out

    def manifest(self, repository: str, reference: str, registry: str = "docker.io") -> Answer:
        return self.entrepot.get(f"/v2/{registry}/{repository}/manifests/{reference}")

    def blob(self, repository: str, digest: Digest, registry: str = "docker.io") -> Answer:
        return self.entrepot.get(f"/v2/{registry}/{repository}/blobs/{digest}")


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """For all tests of a room, which keep to repositories of their own."""
    folder = tmp_path_factory.mktemp("sites")
    hub = "docker.io"
    with (
        proxying(folder / "near", UPSTREAMS, default_upstream=hub, offline=True) as near,
        proxying(folder / "far", UPSTREAMS, default_upstream=hub, offline=True) as far,
    ):
        yield Site(near), Site(far)


@pytest.fixture
def near(sites: tuple[Site, Site]) -> Site:
    return sites[0]


@pytest.fixture
def far(sites: tuple[Site, Site]) -> Site:
    return sites[1]


@pytest.fixture
def mine(request: pytest.FixtureRequest) -> str:
    """A namespace of Docker Hub that is this test's own."""
    return f"t{zlib.crc32(request.node.name.encode()):08x}"
