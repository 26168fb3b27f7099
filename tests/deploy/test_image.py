"""The image is built and is small; the pods that run it serve pulls as nobody, with a root that is read only."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cast.registry import DOCKER_REGISTRY, Registry
from tests.deploy.containers import CA_FILE, CHECKOUT, Containers, Image, Rights, built
from tests.deploy.test_node_local import CONFIG_MAP, CONTAINERS, mounted
from tests.ports import free_port
from tests.process import ProcessFailed, get, listens
from tests.tiers.cast import GHCR
from tests.zoo.real.push import push_image

DOCKERFILE = (CHECKOUT / "deploy" / "Dockerfile").read_text()
NOBODY = 65532
MiB = 1 << 20
TOOLS = [tool for tool in ("buildah", "debootstrap", "runc") if shutil.which(tool) is None]
REAL = [
    pytest.mark.heavy,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        os.geteuid() != 0 or bool(TOOLS) or DOCKER_REGISTRY is None or not CA_FILE.exists(),
        reason=f"needs root and {', '.join(TOOLS) or 'docker-registry, ca-certificates'} (see tests/run)",
    ),
]


def test_whose_base_it_is_says_who_builds_it_and_no_digest_is_made_up() -> None:
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BASE}", "${BASE}"]
    assert not re.search(r"@sha256:[0-9a-f]", DOCKERFILE)


def test_its_user_is_that_of_the_pods() -> None:
    assert re.findall(r"^USER (\d+):(\d+)", DOCKERFILE, re.MULTILINE) == [(str(NOBODY), str(NOBODY))]
    assert CONTAINERS["entrepot"]["securityContext"]["runAsUser"] == NOBODY


def test_all_that_it_copies_is_given_to_the_builder() -> None:
    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()
    }
    given = (CHECKOUT / ".dockerignore").read_text().split()
    assert given[0] == "*"
    assert {word[1:] for word in given if word.startswith("!")} == copied
    assert all((CHECKOUT / name).exists() for name in copied)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    folder = tmp_path_factory.mktemp("image")
    yield built(folder)
    shutil.rmtree(folder)


class Node:
    """What a node's volumes hold, and containers that have them where the pods do."""

    def __init__(self, image: Image, folder: Path, upstream: str) -> None:
        self.image = image
        self.port, self.admin, self.log = free_port(), free_port(), folder / "log"
        self.cache, self.hosts = folder / "cache", folder / "hosts"
        for each in (self.cache, self.hosts):
            each.mkdir()
        settings = yaml.safe_load(CONFIG_MAP["data"]["entrepot.yaml"])
        settings |= {"listen": f"127.0.0.1:{self.port}", "admin": f"127.0.0.1:{self.admin}"}
        settings |= {"upstreams": {GHCR: {"url": upstream}}, "drain": {"delay": "0s"}}
        settings["cache"]["min_free"] = 0
        config = folder / "entrepot.yaml"
        config.write_text(yaml.safe_dump(settings))
        at = "/etc/entrepot/entrepot.yaml"
        cache, hosts = mounted("entrepot", "cache"), mounted("hosts", "hosts")
        assert cache
        assert hosts
        mounts = {at: config, cache: self.cache, hosts: self.hosts}
        self.containers = Containers(image, folder / "containers", mounts, {"ENTREPOT_CONFIG": at})


@pytest.fixture
def ghcr(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "ghcr", tmp_path / "storage").running() as registry:
        yield registry


@pytest.fixture
def node(image: Image, ghcr: Registry, tmp_path: Path) -> Node:
    return Node(image, tmp_path, f"http://{ghcr.address}")


class TestReal:
    pytestmark = REAL

    def test_it_is_less_than_120_mib_and_nobodys(self, image: Image) -> None:
        assert image.compressed < 120 * MiB
        assert image.config["User"] == f"{NOBODY}:{NOBODY}"
        assert image.config["Volumes"] == {mounted("entrepot", "cache"): {}}
        assert not list(image.root.glob("opt/entrepot/lib/python3*/site-packages/pip"))
        assert list(image.root.glob("opt/entrepot/lib/python3*/site-packages/proxy/__pycache__/*.pyc"))
        assert (image.root / "var/cache/entrepot").stat().st_uid == NOBODY

    def test_the_pods_of_node_local_pull_with_it_and_leave_a_node_as_it_was(
        self, node: Node, ghcr: Registry, tmp_path: Path
    ) -> None:
        pushed = push_image(ghcr.port, "team/app", "v1")
        for name in ("cache", "hosts"):
            node.containers.run(CONTAINERS[name]["command"], rights(name))
        assert node.cache.stat().st_uid == NOBODY
        assert [path.name for path in node.hosts.iterdir()] == [GHCR]
        command = CONTAINERS["entrepot"]["command"]
        ready = lambda: listens(node.admin) and get(node.admin, "/readyz").status == 200  # noqa: E731
        with node.containers.running(command, rights("entrepot"), node.log, ready) as within:
            for _ in ("cold", "without its registry"):
                for path in (f"manifests/{pushed.digest}", *(f"blobs/{digest}" for digest in pushed.blobs)):
                    assert get(node.port, f"/v2/team/app/{path}?ns={GHCR}").status == 200
                ghcr.stop()
            assert "is ready" in within(*health_check(node))
            assert within("id", "-u").strip() == str(NOBODY)
            for place in ("/written", "/tmp/written", "/opt/entrepot/written", "/etc/entrepot/written"):
                with pytest.raises(ProcessFailed, match="Read-only file system"):
                    within("touch", place)
        with pytest.raises(ProcessFailed, match="ended with 1"):
            node.containers.run(health_check(node), rights("entrepot"))
        assert "Traceback" not in node.log.read_text()
        node.containers.run(CONTAINERS["undo"]["lifecycle"]["preStop"]["exec"]["command"], rights("undo"))
        assert not list(node.hosts.iterdir())


def rights(name: str) -> Rights:
    context = CONTAINERS[name]["securityContext"]
    return Rights(context["runAsUser"], context["capabilities"].get("add", ()))


def health_check(node: Node) -> list[str]:
    kind, *words = node.image.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    return list(words)
