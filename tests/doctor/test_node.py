"""The files of container clients on a node, as a person hears of them."""

from pathlib import Path

import pytest

from proxy.clients.chains import Question
from proxy.clients.setups import MirroredRegistry, ProxyAddress
from proxy.doctor.node import node_steps
from proxy.doctor.steps import Step, Verdict

HERE = "10.0.0.5:5000"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def looked_at(root: Path, *upstreams: str, default: str | None = "docker.io", here: str = HERE) -> dict[str, Step]:
    registries = [MirroredRegistry(name, f"https://{name}") for name in upstreams or ("docker.io",)]
    return {step.name: step for step in node_steps(root, Question(ProxyAddress.parse(here), registries, default))}


def test_a_node_without_any_client_has_no_trouble(root: Path) -> None:
    assert {step.verdict for step in looked_at(root).values()} == {Verdict.SKIPPED}


def test_a_node_that_is_not_there_is_told(root: Path) -> None:
    assert looked_at(root / "nowhere")["clients"].verdict is Verdict.FAILED


def test_a_client_is_looked_at_for_each_registry(root: Path) -> None:
    certs = "etc/containerd/certs.d"
    write(root, f"{certs}/docker.io/hosts.toml", f'server = "https://docker.io"\n[host."http://{HERE}"]\n')
    write(root, f"{certs}/quay.io/hosts.toml", '[host."http://10.0.0.9:5000"]\n')
    write(
        root, f"{certs}/registry.test_5010_/hosts.toml", f'[host."http://{HERE}"]\ncapabilities = ["pull", "resolve"]\n'
    )
    write(root, f"{certs}/push.test/hosts.toml", f'[host."http://{HERE}"]\ncapabilities = ["push"]\n')
    write(root, f"{certs}/broken.test/hosts.toml", "[host")
    steps = looked_at(root, "docker.io", "quay.io", "registry.test:5010", "push.test", "broken.test", "ghcr.io")
    assert {name.removeprefix("containerd "): step.verdict.value for name, step in steps.items()} == {
        "docker.io": "ok",
        "quay.io": "failed",
        "registry.test:5010": "ok",
        "push.test": "failed",
        "broken.test": "failed",
        "ghcr.io": "skipped",
    }
    assert "10.0.0.9:5000" in steps["containerd quay.io"].detail
    assert f"http://{HERE}" in steps["containerd quay.io"].fix


def test_docker_asks_for_docker_hub_alone(root: Path) -> None:
    write(root, "etc/docker/daemon.json", f'{{"registry-mirrors": ["http://{HERE}/"]}}')
    assert looked_at(root)["docker docker.io"].verdict is Verdict.OK
    other = looked_at(root, default=None)["docker docker.io"]
    assert (other.verdict, "default_upstream" in other.fix) == (Verdict.FAILED, True)
    write(root, "etc/docker/daemon.json", "{")
    assert looked_at(root)["docker docker.io"].verdict is Verdict.FAILED


def test_podman_names_mirrors_in_one_file_or_several(root: Path) -> None:
    write(root, "etc/containers/registries.conf", 'unqualified-search-registries = ["docker.io"]\n')
    assert looked_at(root)["podman docker.io"].verdict is Verdict.SKIPPED
    mirror = '[[registry]]\nprefix = "docker.io"\n[[registry.mirror]]\n'
    mirror += f'location = "{HERE}/docker.io"\ninsecure = true\n'
    write(root, "etc/containers/registries.conf.d/50-mirror.conf", mirror)
    assert looked_at(root)["podman docker.io"].verdict is Verdict.OK
    assert looked_at(root, here="10.0.0.6:5000")["podman docker.io"].verdict is Verdict.FAILED


def test_all_names_of_this_machine_are_here(root: Path) -> None:
    write(root, "etc/docker/daemon.json", '{"registry-mirrors": ["http://localhost:5000"]}')
    for here in ("127.0.0.1:5000", "0.0.0.0:5000", "[::1]:5000"):
        assert looked_at(root, here=here)["docker docker.io"].verdict is Verdict.OK
    assert looked_at(root, here="127.0.0.1:5001")["docker docker.io"].verdict is Verdict.FAILED
