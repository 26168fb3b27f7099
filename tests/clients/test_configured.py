"""What clients are told of a configuration: the registries that it has, wherever they are asked."""

from pathlib import Path

import pytest
import yaml

from proxy.clients.configured import question_of, registries_of
from proxy.clients.kinds import SETUPS
from proxy.clients.setups import MirroredRegistry, Wish
from proxy.config import Settings, load
from tests.clients.cast import PROXY

TIER = {"*": {"url": "http://central:5000"}, "ghcr.io": {"url": "http://central:5000", "forward": "path"}}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "entrepot.yaml"
    path.write_text(yaml.safe_dump({"upstreams": TIER}))
    return load(path, {}).settings


def test_a_client_goes_past_a_dead_proxy_to_the_registry_and_not_to_the_cache_behind(settings: Settings) -> None:
    assert registries_of(settings) == [
        MirroredRegistry("docker.io", "https://registry-1.docker.io"),
        MirroredRegistry("*", "https://registry.example"),
        MirroredRegistry("ghcr.io", "https://ghcr.io"),
    ]
    assert [each.name for each in question_of(settings, PROXY).registries] == [
        "docker.io",
        "registry.example",
        "ghcr.io",
    ]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("containerd", ["docker.io/hosts.toml", "ghcr.io/hosts.toml", "_default/hosts.toml"]),
        ("docker", ["etc/docker/daemon.json"]),
        ("podman", ["50-entrepot.conf"]),
        ("k3s", ["registries.yaml"]),
    ],
)
def test_all_names_are_told_where_the_client_knows_a_star(kind: str, told: list[str], settings: Settings) -> None:
    setup = SETUPS[kind](Wish(PROXY, registries_of(settings), settings.default_upstream))
    assert [file.path.endswith(end) for file, end in zip(setup.files, told, strict=True)] == [True] * len(told)
    text = "".join(file.text for file in setup.files)
    assert "central" not in text
    assert "docker.io" in text or kind == "docker"
    assert "registry-mirrors" in text or kind != "docker"
