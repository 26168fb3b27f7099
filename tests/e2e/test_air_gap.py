"""A cluster without a way out: what is exported outside is carried in by hand, and nodes pull it by its own names."""

import errno
import json
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cast.registry import Registry
from tests.e2e import clients
from tests.e2e.clients import Reference
from tests.e2e.images import Descriptor, Layout, noise
from tests.e2e.namespaces import NEEDS_NAMESPACES, Namespace, cabled
from tests.e2e.readme import commands, typed
from tests.process import PROXY, Entrepot, ProcessFailed, proxying, run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(580), NEEDS_NAMESPACES]

KiB, MiB = 1 << 10, 1 << 20
NewStore = Callable[[], Path]
HUB = Reference("docker.io", "library/web", "v1")
APP = Reference("registry.test", "team/app", "v1")
NEXT = Reference("registry.test", "team/app", "v2")
GREETING = "etc/greeting"
FILES = {
    "containerd": "etc/containerd/certs.d",
    "podman": "etc/containers/registries.conf.d/50-entrepot.conf",
    "docker": "etc/docker/daemon.json",
}


def greeting(image: Reference) -> bytes:
    return f"hello from {image}, carried by hand\n".encode()


class Outside(NamedTuple):
    """A registry for both names, and an Entrepot before it."""

    layout: Layout
    registry: Registry
    entrepot: Entrepot

    def publish(self, image: Reference, descriptor: Descriptor) -> None:
        name = str(image)
        self.layout.tag(name, descriptor)
        target = f"docker://{self.registry.address}/{image.repository}:{image.tag}"
        source = f"oci:{self.layout.folder}:{name}"
        run(["skopeo", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false", source, target])


@pytest.fixture
def outside(clients_installed: None, tmp_path: Path) -> Iterator[Outside]:
    layout = Layout(tmp_path / "made")
    with Registry(tmp_path / "registry", tmp_path / "storage").running() as registry:
        upstreams = {name: {"url": f"http://{registry.address}"} for name in (HUB.registry, APP.registry)}
        with proxying(tmp_path / "outside", upstreams) as entrepot:
            yield Outside(layout, registry, entrepot)


class Inside(NamedTuple):
    """A node, and an Entrepot beside it, which has nothing but what is imported."""

    node: Namespace
    beside: Namespace
    entrepot: Entrepot

    @property
    def address(self) -> str:
        return f"{self.beside.address}:{self.entrepot.port}"

    def told(self, kind: str, root: Path) -> Path:
        """What ``entrepot clients`` has written for a node, where no registry is ever asked."""
        root.mkdir(exist_ok=True)
        at = [f"--address=http://{self.address}", f"--config={self.entrepot.config}", f"--write={root}"]
        run([*PROXY, "clients", kind, *at, f"--fallback={'yes' if kind == 'docker' else 'no'}"])
        return root


@pytest.fixture
def inside(clients_installed: None, tmp_path: Path) -> Iterator[Inside]:
    with cabled("10.99.7.1", "10.99.7.2") as (beside, node):
        listen = {"listen": f"{beside.address}:0", "anonymous": True, "offline": True}
        upstreams: dict[str, dict[str, str]] = {HUB.registry: {}, APP.registry: {}}
        entrepot = Entrepot(tmp_path / "inside", {"upstreams": upstreams, "default_upstream": HUB.registry, **listen})
        try:
            beside.run(entrepot.start)
            yield Inside(node, beside, entrepot)
            entrepot.stop()
            assert "Traceback" not in entrepot.log.read_text()
        finally:
            entrepot.dispose()


def test_the_five_commands_of_readme_bring_images_in_and_then_only_what_is_new(
    outside: Outside, inside: Inside, new_store: NewStore, tmp_path: Path
) -> None:
    private, public, warm, export, take, listing, delta, volumes = commands("An air-gapped cluster in five commands")
    medium = tmp_path / "medium"
    medium.mkdir()
    base = outside.layout.layer({"usr/share/noise": noise(2 * MiB, 5), "etc/os-release": b"ID=nothing\n"})
    for image in (HUB, APP):
        outside.publish(image, outside.layout.image([base, outside.layout.layer({GREETING: greeting(image)})]))
    no_way_out(inside, outside.registry.port)

    cluster(medium, HUB, APP)
    for line in (private, public, warm, export, take, listing):
        on_its_side(line, medium, outside, inside)
    pulls(inside, new_store, HUB, APP)

    new = outside.layout.layer({"usr/share/new": noise(3 * MiB, 6), GREETING: greeting(NEXT)})
    outside.publish(NEXT, outside.layout.image([base, new]))
    cluster(medium, HUB, NEXT)
    for line in (warm, delta):
        on_its_side(line, medium, outside, inside)
    assert abs(sum(volume.stat().st_size for volume in medium.glob("delta.*")) - new[0]["size"]) <= 64 * KiB
    with pytest.raises(ProcessFailed):
        pulls(inside, new_store, NEXT)
    on_its_side(volumes, medium, outside, inside)
    pulls(inside, new_store, NEXT, APP)
    no_way_out(inside, outside.registry.port)


def cluster(folder: Path, *images: Reference) -> None:
    """``kubectl`` in ``folder``'s ``bin`` tells of one whose pods run these."""
    pods = [{"kind": "Pod", "spec": {"containers": [{"name": "it", "image": str(image)}]}} for image in images]
    (folder / "pods.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": pods}))
    kubectl = folder / "bin" / "kubectl"
    kubectl.parent.mkdir(exist_ok=True)
    kubectl.write_text(f'#!/bin/sh\n[ "$*" = "get pods -A -o json" ] && exec cat {folder}/pods.json\n')
    kubectl.chmod(0o755)


def on_its_side(line: str, medium: Path, outside: Outside, inside: Inside) -> None:
    """Where its comment says; ``medium`` is the folder on both sides."""
    [side] = re.findall(r"# (outside|inside)\b", line)
    entrepot = (outside if side == "outside" else inside).entrepot
    shell = partial(typed, line, medium, {"ENTREPOT_ADMIN_URL": f"http://127.0.0.1:{entrepot.admin}"})
    if side == "outside":
        shell()
    else:
        inside.beside.run(shell)


def no_way_out(inside: Inside, port: int) -> None:
    """Neither from the node nor from beside it, to the registry or to anybody else."""

    def reached(address: str) -> int:
        with socket.socket() as probe:
            probe.settimeout(5)
            return probe.connect_ex((address, port))

    for place in (inside.node, inside.beside):
        assert place.run(lambda: reached("127.0.0.1")) == errno.ECONNREFUSED
        assert place.run(lambda: reached("192.0.2.1")) == errno.ENETUNREACH
        assert place.ip("route", "show", "default") == b""
    assert reached("127.0.0.1") == 0, "outside it is there"


def pulls(inside: Inside, new_store: NewStore, *images: Reference) -> None:
    """Each by containerd and podman, those of Docker Hub by Docker too; a file of the unpacked image is right."""
    told = {kind: inside.told(kind, inside.entrepot.config.parent / kind) for kind in FILES}
    for image in images:
        for kind, files in FILES.items():
            if kind != "docker" or image.registry == HUB.registry:
                pull = partial(PULLS[kind], new_store(), told[kind] / files, image)
                assert inside.node.run(pull) == greeting(image), (kind, image)


PULLS: Mapping[str, Callable[[Path, Path, Reference], bytes]] = {
    "containerd": lambda store, hosts, image: clients.containerd_told(store, hosts, image, GREETING),
    "podman": lambda store, registries, image: clients.podman_told(store, registries, image, GREETING),
    "docker": lambda store, config, image: clients.docker_told(store, config, str(image), GREETING),
}
