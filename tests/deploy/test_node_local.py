"""An Entrepot on each node: the files of the DaemonSet do on a node what they say, without a cluster."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.config import load

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes" / "node-local"
DOCUMENTS = {path.stem: list(yaml.safe_load_all(path.read_text())) for path in sorted(FOLDER.glob("*.yaml"))}
[CONFIG_MAP], [DAEMON_SET], [NAMESPACE] = (DOCUMENTS[name] for name in ("configmap", "daemonset", "namespace"))
POD: Mapping[str, Any] = DAEMON_SET["spec"]["template"]["spec"]
CONTAINERS = {each["name"]: each for each in (*POD["initContainers"], *POD["containers"])}
CERTS = "etc/containerd/certs.d"
TIER = '# "*":'


def of_configmap(tier: bool) -> str:
    text = str(CONFIG_MAP["data"]["entrepot.yaml"])
    assert TIER in text
    return text.replace(TIER, '"*":') if tier else text


class Node:
    """A root, in which the pod's volumes are where they are on a node."""

    def __init__(self, root: Path, configuration: str) -> None:
        self.root = root
        self.places = {"config": root / "configmap", "cache": root / "var/cache/entrepot", "hosts": root / CERTS}
        for place in self.places.values():
            place.mkdir(parents=True)
        (self.places["config"] / "entrepot.yaml").write_text(configuration)

    def run(self, container: str, command: list[str]) -> str:
        """As the container does, with each mount in its place: longer paths first."""
        mounts = {each["mountPath"]: self.places[each["name"]] for each in CONTAINERS[container]["volumeMounts"]}
        mounts |= {"/node": self.root}
        argv = list(command)
        for path in sorted(mounts, key=len, reverse=True):
            argv = [word.replace(path, str(mounts[path])) for word in argv]
        env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def check(self) -> list[dict[str, Any]]:
        config = str(self.places["config"] / "entrepot.yaml")
        words = ["entrepot", "clients", "check", str(self.root), "--config", config, "--json"]
        return list(json.loads(self.run("hosts", words)))

    @property
    def told(self) -> set[str]:
        return {path.parent.name for path in self.places["hosts"].glob("*/hosts.toml")}


@pytest.fixture(params=[False, True], ids=["by itself", "before a central one"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    yield Node(tmp_path, of_configmap(request.param))


def test_the_configuration_is_right(node: Node) -> None:
    said = node.run("entrepot", ["entrepot", "config", "check", "/etc/entrepot/entrepot.yaml"])
    assert "warning" not in said.lower()
    settings = load(node.places["config"] / "entrepot.yaml", {}).settings
    assert settings.listen.is_loopback
    assert settings.admin.is_loopback
    assert str(settings.cache.path) == mounted("entrepot", "cache")


def test_the_init_container_tells_the_nodes_containerd_and_the_pods_end_takes_it_back(node: Node) -> None:
    mine = node.places["hosts"] / "mine.test"
    mine.mkdir()
    (mine / "hosts.toml").write_text("server = 'https://mine.test'\n")
    node.run("hosts", CONTAINERS["hosts"]["command"])
    settings = load(node.places["config"] / "entrepot.yaml", {}).settings
    assert node.told == {"mine.test", *(name if name != "*" else "_default" for name in settings.upstreams)}
    chains = node.check()
    assert {chain["client"] for chain in chains} == {"containerd"}
    for chain in chains:
        goes = {condition: found["goes"] for condition, found in chain["proxy"].items()}
        assert (goes["up"], goes["dead"], chain["troubles"]) == ("through the proxy", "directly", [])
    assert "unchanged" in node.run("hosts", CONTAINERS["hosts"]["command"])
    node.run("undo", CONTAINERS["undo"]["lifecycle"]["preStop"]["exec"]["command"])
    assert node.told == {"mine.test"}
    assert os.listdir(node.places["hosts"]) == ["mine.test"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives a folder away")
def test_the_cache_is_no_roots(node: Node) -> None:
    node.run("cache", CONTAINERS["cache"]["command"])
    user = CONTAINERS["entrepot"]["securityContext"]["runAsUser"]
    assert node.places["cache"].stat().st_uid == user != 0


def test_it_is_asked_where_it_listens() -> None:
    settings = yaml.safe_load(CONFIG_MAP["data"]["entrepot.yaml"])
    for words in (CONTAINERS["hosts"]["command"], CONTAINERS["undo"]["lifecycle"]["preStop"]["exec"]["command"]):
        assert f"--address=http://{settings['listen']}" in words
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = CONTAINERS["entrepot"][probe]["httpGet"]
        assert f"{asked['host']}:{asked['port']}" == settings["admin"]


def test_nobody_in_the_pod_has_more_rights_than_it_needs() -> None:
    assert POD["automountServiceAccountToken"] is False
    assert not any("Role" in document["kind"] for documents in DOCUMENTS.values() for document in documents)
    for name, container in CONTAINERS.items():
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"] is True
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["capabilities"] == {"drop": ["ALL"]} | ({"add": ["CHOWN"]} if name == "cache" else {})
        assert "privileged" not in rights
    assert CONTAINERS["entrepot"]["securityContext"]["runAsNonRoot"] is True
    assert mounted("entrepot", "hosts") is None, "who listens writes no file of the node's"
    drain = 5 + 60
    assert POD["terminationGracePeriodSeconds"] > drain


def test_every_mount_is_of_a_volume_and_all_are_in_one_namespace() -> None:
    volumes = {each["name"] for each in POD["volumes"]}
    for container in CONTAINERS.values():
        assert {each["name"] for each in container["volumeMounts"]} <= volumes
    named = NAMESPACE["metadata"]["name"]
    assert CONFIG_MAP["metadata"]["namespace"] == DAEMON_SET["metadata"]["namespace"] == named
    [config] = [each["configMap"]["name"] for each in POD["volumes"] if "configMap" in each]
    assert config == CONFIG_MAP["metadata"]["name"]
    labels = DAEMON_SET["spec"]["template"]["metadata"]["labels"]
    assert DAEMON_SET["spec"]["selector"]["matchLabels"] == labels


def mounted(container: str, volume: str) -> str | None:
    """Where the container has it."""
    mounts = {each["name"]: each["mountPath"] for each in CONTAINERS[container]["volumeMounts"]}
    return mounts.get(volume)
