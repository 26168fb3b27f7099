"""The Helm chart, rendered by helm: what it makes is a pod that Entrepot accepts, without a cluster."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from proxy.config import load
from tests.cast import FaultUpstream
from tests.homes.lodger import Lodger, other_user
from tests.process import PROXY
from tests.scenarios.house import NAME, MiB
from tests.scenarios.process import site

pytestmark = pytest.mark.heavy  # helm has to be built

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "entrepot"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
ROLE = "arn:aws:iam::123456789012:role/entrepot"
EVERYTHING = {
    "replicaCount": 2,
    "image": {"repository": "registry.test/entrepot", "digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "login"}],
    "adminToken": {"existingSecret": "operator"},
    "persistence": {"storageClass": "gp3", "annotations": {"a": "b"}},
    "service": {"type": "NodePort", "nodePort": 30500, "annotations": {"a": "b"}},
    "aws": {"roleArn": ROLE, "podIdentity": True, "region": "us-east-1"},
    "networkPolicy": {
        "pullFrom": [{"ipBlock": {"cidr": "10.0.0.0/16"}}],
        "adminFrom": [{"namespaceSelector": {}}],
        "egress": [{"ports": [{"port": 443}]}],
    },
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "runbooks": "https://wiki.test/runbooks"},
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "platform"},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [{"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
    "priorityClassName": "high",
    "extraVolumes": [{"name": "htpasswd", "secret": {"secretName": "htpasswd"}}],
    "extraVolumeMounts": [{"name": "htpasswd", "mountPath": "/run/secrets"}],
    "extraEnv": [{"name": "HUB", "value": "x"}],
    "config": {"host_names": ["status.test"], "upstreams": {"docker.io": None}},
}


def helm(*words: str) -> "subprocess.CompletedProcess[str]":
    tool = shutil.which("helm", path=f"{os.environ['PATH']}:{Path.home() / 'go' / 'bin'}")
    if tool is None:
        pytest.skip("needs helm (go install helm.sh/helm/v3/cmd/helm@latest)")
    return subprocess.run([tool, *words], capture_output=True, text=True, check=False, timeout=100)


class Rendered:
    """The objects of one release, by their kind and name."""

    def __init__(self, text: str) -> None:
        self.objects = {
            (each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text) if each is not None
        }

    def __getitem__(self, kind: str) -> Any:
        """The one of that kind; of Services, that of pulls."""
        return self.objects[kind, "pulls-entrepot"]

    @property
    def pod(self) -> Any:
        return self["StatefulSet"]["spec"]["template"]["spec"]

    @property
    def configuration(self) -> Any:
        return yaml.safe_load(self["ConfigMap"]["data"]["entrepot.yaml"])


Render = Callable[[Mapping[str, Any]], Rendered]


@pytest.fixture
def render(tmp_path: Path) -> Render:
    def rendered(values: Mapping[str, Any]) -> Rendered:
        (tmp_path / "values.yaml").write_text(yaml.safe_dump(dict(values)))
        words = ("--namespace", "cache", "--kube-version", "1.31", "--values", str(tmp_path / "values.yaml"))
        done = helm("template", "pulls", str(CHART), *words)
        assert done.returncode == 0, done.stderr
        return Rendered(done.stdout)

    return rendered


def test_helm_finds_nothing_to_complain_of(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(EVERYTHING))
    for more in ((), ("--values", str(tmp_path / "values.yaml"))):
        done = helm("lint", "--strict", str(CHART), *more)
        assert done.returncode == 0, done.stdout


def test_the_default_values_are_in_the_schema_and_what_is_misspelt_is_not() -> None:
    jsonschema.validate(VALUES, SCHEMA)
    assert set(VALUES) == set(SCHEMA["properties"]) - {"global"}
    for name, section in SCHEMA["properties"].items():
        if section.get("properties") and name != "config":
            assert set(section["properties"]) == set(VALUES[name]), name
    for wrong in ({"replicas": 2}, {"persistence": {"sise": "1Gi"}}, {"aws": {"roleArn": "entrepot"}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, SCHEMA)
    (done,) = [helm("template", "pulls", str(CHART), "--kube-version", "1.31", "--set", "persistence.sise=1Gi")]
    assert done.returncode != 0
    assert "sise" in done.stderr


@pytest.mark.parametrize("values", [{}, EVERYTHING, {"persistence": {"enabled": False}}], ids=["", "all", "emptyDir"])
def test_entrepot_accepts_its_configuration_and_is_asked_where_it_listens(
    render: Render, values: Mapping[str, Any], tmp_path: Path
) -> None:
    rendered = render(values)
    file = tmp_path / "entrepot.yaml"
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "token").write_text("a-token-of-some-length")
    modes = [volume["secret"].get("defaultMode") for volume in rendered.pod["volumes"] if "secret" in volume]
    (secret / "token").chmod(modes[0] if modes else 0o440)
    mounted = rendered["ConfigMap"]["data"]["entrepot.yaml"].replace("/run/entrepot/admin-token", str(secret))
    file.write_text(mounted)
    checked = subprocess.run([*PROXY, "config", "check", str(file)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked
    warnings = [line for line in (checked.stdout + checked.stderr).splitlines() if "warning" in line.lower()]
    assert all("name a token in admin_token_file" in line for line in warnings), warnings
    assert bool(warnings) == (values is not EVERYTHING), "it has none unless it is given one"
    settings = load(file, {}).settings
    (container,) = rendered.pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"pull": settings.listen.port, "admin": settings.admin.port}
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"port": "admin", "path": path}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert settings.cache.path == Path(mounts["cache"]) / "cache"
    assert f"--config={mounts['config']}/entrepot.yaml" in container["command"]
    assert {"pulls-entrepot-admin.cache.svc", *values.get("config", {}).get("host_names", ())} <= set(
        settings.host_names
    )
    drained = settings.drain.delay + settings.drain.timeout
    assert rendered.pod["terminationGracePeriodSeconds"] > drained
    size = int(VALUES["persistence"]["size"].removesuffix("Gi")) << 30
    assert settings.cache.max_size + settings.cache.min_free.floor(size) <= size
    assert ("docker.io" in settings.upstreams) == (values is not EVERYTHING)


def test_its_objects_find_one_another(render: Render) -> None:
    rendered = render(EVERYTHING)
    pod, labels = rendered.pod, rendered["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        rendered["StatefulSet"]["spec"]["selector"]["matchLabels"],
        rendered["Service"]["spec"]["selector"],
        rendered.objects["Service", "pulls-entrepot-admin"]["spec"]["selector"],
        rendered["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        rendered["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)
    monitored = rendered["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    services = [each for (kind, _), each in rendered.objects.items() if kind == "Service"]
    watched = [each for each in services if monitored.items() <= each["metadata"]["labels"].items()]
    assert [each["metadata"]["name"] for each in watched] == [rendered["StatefulSet"]["spec"]["serviceName"]]
    assert pod["serviceAccountName"] == rendered["ServiceAccount"]["metadata"]["name"]
    assert rendered["ServiceAccount"]["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": ROLE}
    volumes = {volume["name"] for volume in pod["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in rendered["StatefulSet"]["spec"]["volumeClaimTemplates"]}
    assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == volumes
    rules = rendered["PrometheusRule"]["spec"]["groups"][0]["rules"]
    assert {rule["annotations"]["runbook_url"].partition("#")[0] for rule in rules} == {"https://wiki.test/runbooks"}
    assert rules[0]["annotations"]["summary"].startswith("{{ $labels.instance }}")


def test_nobody_in_the_pod_has_more_rights_than_it_needs(render: Render) -> None:
    pod = render({}).pod
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"] == 65532
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_admin_listener_is_nobodys_unless_it_is_given(render: Render) -> None:
    assert [rule["ports"] for rule in render({})["NetworkPolicy"]["spec"]["ingress"]] == [[{"port": "pull"}]]
    pull, admin = render(EVERYTHING)["NetworkPolicy"]["spec"]["ingress"]
    assert (pull["from"], admin["from"]) == (
        EVERYTHING["networkPolicy"]["pullFrom"],  # type: ignore[index]
        EVERYTHING["networkPolicy"]["adminFrom"],  # type: ignore[index]
    )


def test_a_changed_configuration_starts_the_pods_anew_and_nothing_else_does(render: Render) -> None:
    def checksum(values: Mapping[str, Any]) -> str:
        return str(render(values)["StatefulSet"]["spec"]["template"]["metadata"]["annotations"]["checksum/config"])

    assert checksum({}) == checksum({"replicaCount": 3})
    assert checksum({}) != checksum({"config": {"tags": {"ttl": "5m"}}})


def test_one_volume_is_not_shared_by_two(tmp_path: Path) -> None:
    words = ("--kube-version", "1.31", "--set", "replicaCount=2,persistence.existingClaim=mine")
    done = helm("template", "pulls", str(CHART), *words)
    assert done.returncode != 0
    assert "a cache folder belongs to one process" in done.stderr


def test_the_notes_say_how_to_reach_it_and_what_is_missing(render: Render, tmp_path: Path) -> None:
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    (chart / "templates" / "notes.yaml").write_text(
        'told: {{ include (print $.Template.BasePath "/NOTES.txt") . | toJson }}\n'
    )

    def notes(*values: str) -> str:
        chosen = [word for value in values for word in ("--set", value)]
        done = helm("template", "pulls", str(chart), "--kube-version", "1.31", "-s", "templates/notes.yaml", *chosen)
        assert done.returncode == 0, done.stderr
        return str(yaml.safe_load(done.stdout)["told"])

    assert "pulls-entrepot.default.svc:5000" in notes()
    assert "so that is everybody" in notes()
    assert "Prometheus cannot reach it" in notes("serviceMonitor.enabled=true")
    assert "create-pod-identity-association" in notes("aws.podIdentity=true")
    assert "by IRSA" in notes(f"aws.roleArn={ROLE}")
    assert "ends with each pod" in notes("persistence.enabled=false")
    for command in re.findall(r"-- entrepot (\w+)", notes()):
        assert subprocess.run([*PROXY, command, "--help"], capture_output=True, check=False).returncode == 0


@pytest.fixture(params=[0o2775, 0o2777], ids=["volume", "emptyDir"])
def volume(request: pytest.FixtureRequest) -> Iterator[Path]:
    """As the kubelet mounts it with fsGroup: root's, writable for the group, with lost+found where it is a disk."""
    if os.geteuid() != 0:
        pytest.skip("needs root: gives a folder away")
    with tempfile.TemporaryDirectory(prefix="volume-") as name:
        Path(name).chmod(0o755)  # so that every user finds it, as pytest's are not
        path = Path(name) / "volume"
        (path / "lost+found").mkdir(parents=True)
        os.chown(path, 0, 65532)
        path.chmod(request.param)
        yield path


async def test_it_lives_on_a_volume_that_is_its_groups(render: Render, upstream: FaultUpstream, volume: Path) -> None:
    rendered = render({})
    (container,) = rendered.pod["containers"]
    (mounted,) = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "cache"]
    settings = rendered.configuration
    settings["cache"] |= {"path": settings["cache"]["path"].replace(mounted, str(volume)), "min_free": 0}
    settings |= {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "upstreams": {NAME: {"url": upstream.url}}}
    settings |= {"drain": {"delay": "0s"}}
    async with site(volume.parent, upstream.url, settings, under=other_user(65532)) as entrepot:
        entrepot.folder = Path(settings["cache"]["path"])
        await Lodger(entrepot, upstream, b"x" * MiB).lives_well()
        warnings = [line for line in entrepot.output.read_text().splitlines() if '"level": "warning"' in line]
        assert not [line for line in warnings if "open files" not in line]
    assert entrepot.folder.stat().st_mode & 0o777 == 0o700
