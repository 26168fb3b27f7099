"""Real clients. Each function pulls an image with an empty store of its own and gives back one file out of the unpacked
image; each knows its client's way to be told of a mirror.

Those by path, and the mirrors of skopeo and podman, have the registry's name as first path component; containerd names
the registry in ``?ns=``; the Docker Engine sends bare paths to its mirror.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.e2e.images import MACHINE, unpacked
from tests.process import listens_on, run, running


class Reference(NamedTuple):
    """What a user types: registry, repository, tag."""

    registry: str
    repository: str
    tag: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}:{self.tag}"


Pull = Callable[[Path, str, Reference, str], bytes]
"""(empty store, proxy's address, image, path of a file in it) to that file's content. Raises ProcessFailed."""


def skopeo_by_path(store: Path, proxy: str, image: Reference, file: str) -> bytes:
    """The image is named as the proxy's own: what any client can do without configuration."""
    source = f"docker://{proxy}/{image}"
    run(["skopeo", "copy", "--src-tls-verify=false", "--preserve-digests", source, f"oci:{store / 'out'}:{image.tag}"])
    return unpacked(store / "out", image.tag, file)


def skopeo_by_mirror(store: Path, proxy: str, image: Reference, file: str) -> bytes:
    return skopeo_told(store, _registries_conf(store, proxy, image.registry), image, file)


def skopeo_told(store: Path, registries: Path, image: Reference, file: str) -> bytes:
    """By a ``registries.conf`` that is there."""
    copy = ["skopeo", "--registries-conf", str(registries), "copy", "--preserve-digests"]
    run([*copy, f"docker://{image}", f"oci:{store / 'out'}:{image.tag}"])
    return unpacked(store / "out", image.tag, file)


def podman(store: Path, proxy: str, image: Reference, file: str) -> bytes:
    return podman_told(store, _registries_conf(store, proxy, image.registry), image, file)


def podman_told(store: Path, registries: Path, image: Reference, file: str) -> bytes:
    """The same for podman."""
    env = {"CONTAINERS_REGISTRIES_CONF": str(registries), "HOME": str(store)}
    base = ["podman", "--root", str(store / "root"), "--runroot", str(store / "run"), "--tmpdir", str(store / "tmp")]
    base += ["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]
    run([*base, "pull", "--quiet", str(image)], env)
    mounted = run([*base, "image", "mount", str(image)], env).decode().strip()
    content = (Path(mounted) / file).read_bytes()
    run([*base, "image", "unmount", str(image)], env)
    return content


def containerd(store: Path, proxy: str, image: Reference, file: str) -> bytes:
    """No ``server`` in hosts.toml: what the mirror does not have would be asked at the registry's real address."""
    hosts = store / "certs.d" / image.registry
    hosts.mkdir(parents=True)
    (hosts / "hosts.toml").write_text(f'[host."http://{proxy}"]\ncapabilities = ["pull", "resolve"]\n')
    return containerd_told(store, hosts.parent, image, file)


def containerd_told(store: Path, hosts: Path, image: Reference, file: str) -> bytes:
    """By a folder that has one for each registry."""
    with containerd_running(store) as socket:
        ctr = ["ctr", "--address", str(socket)]
        pull = [*ctr, "images", "pull", "--hosts-dir", str(hosts), "--snapshotter", "native"]
        run([*pull, str(image)])
        target = store / "mounted"
        target.mkdir()
        run([*ctr, "images", "mount", "--snapshotter", "native", str(image), str(target)])
        content = (target / file).read_bytes()
        run([*ctr, "images", "unmount", "--snapshotter", "native", str(target)])
        return content


def docker_by_mirror(store: Path, proxy: str, image: Reference, file: str) -> bytes:
    """The Engine has mirrors for Docker Hub only."""
    assert image.registry == "docker.io"
    return docker_told(store, _daemon_json(store, proxy), str(image), file)


def docker_by_path(store: Path, proxy: str, image: Reference, file: str) -> bytes:
    """How the Engine gets images of any other registry."""
    return docker_told(store, _daemon_json(store, proxy), f"{proxy}/{image}", file)


def docker_told(store: Path, config: Path, name: str, file: str) -> bytes:
    """By a ``daemon.json`` that is there; ``name`` is the image as it is typed."""
    with dockerd(store, config) as host:
        cli = ["docker", "--config", str(store / "config"), "--host", host]
        run([*cli, "pull", "--quiet", name])
        container = run([*cli, "create", name]).decode().strip()
        with tarfile.open(fileobj=io.BytesIO(run([*cli, "cp", f"{container}:/{file}", "-"]))) as archive:
            content = archive.extractfile(Path(file).name)
            assert content is not None
            return content.read()


def _registries_conf(store: Path, proxy: str, registry: str) -> Path:
    """containers-registries.conf(5), version 2."""
    path = store / "registries.conf"
    path.write_text(
        f'[[registry]]\nprefix = "{registry}"\nlocation = "{registry}"\n'
        f'[[registry.mirror]]\nlocation = "{proxy}/{registry}"\ninsecure = true\n'
    )
    return path


@contextmanager
def containerd_running(store: Path) -> Iterator[Path]:
    """Gives its socket."""
    socket = store / "containerd.sock"
    config = store / "containerd.toml"
    config.write_text(
        f'version = 2\nroot = "{store}/root"\nstate = "{store}/state"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\naddress = "{socket}"\n[ttrpc]\naddress = "{socket}.ttrpc"\n'
        f'[plugins."io.containerd.internal.v1.opt"]\npath = "{store}/opt"\n'
        '[[plugins."io.containerd.transfer.v1.local".unpack_config]]\n'  # which containerd 2 pulls by
        f'platform = "linux/{MACHINE}"\nsnapshotter = "native"\n'
    )
    argv = ["containerd", "--config", str(config)]
    with running(argv, store / "containerd.log", lambda: listens_on(socket)):
        yield socket


def _daemon_json(store: Path, proxy: str) -> Path:
    """dockerd(8)."""
    path = store / "daemon.json"
    path.write_text(json.dumps({"registry-mirrors": [f"http://{proxy}"]}))
    return path


@contextmanager
def dockerd(store: Path, config: Path) -> Iterator[str]:
    """Gives its address."""
    socket = store / "docker.sock"
    argv = ["dockerd", "--config-file", str(config), "--host", f"unix://{socket}"]
    argv += ["--data-root", str(store / "data"), "--exec-root", str(store / "exec"), "--pidfile", str(store / "pid")]
    argv += ["--storage-driver", "vfs", "--iptables=false", "--ip6tables=false", "--bridge=none"]
    with running(argv, store / "dockerd.log", lambda: listens_on(socket), patience=60):
        yield f"unix://{socket}"
