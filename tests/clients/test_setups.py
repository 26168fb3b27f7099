"""What each kind of client is told, and that it comes to what was wished for."""

import json
import tomllib
from base64 import b64decode

import pytest
import yaml

from proxy.clients.chains import ProxyCondition, outcome
from proxy.clients.kinds import SETUPS
from proxy.clients.setups import Fallback, MirroredRegistry, ProxyAddress, Setup, Wish
from tests.clients.cast import CA, ECR, GHCR, HUB, PLAIN, PROXY, SECURE, WITH_PORT, asked, node, wish, with_files

READ_BACK = ["containerd", "podman", "crio", "buildkit", "k3s", "rke2"]
ALWAYS_FALLS_BACK = {"buildkit", "docker"}


def files(setup: Setup) -> dict[str, str]:
    return {file.path: file.text for file in setup.files}


@pytest.mark.parametrize("fallback", Fallback)
@pytest.mark.parametrize("proxy", [PROXY, SECURE], ids=str)
@pytest.mark.parametrize("kind", READ_BACK)
def test_what_is_written_is_read_as_what_was_wished_for(kind: str, proxy: ProxyAddress, fallback: Fallback) -> None:
    setup = SETUPS[kind](wish(proxy=proxy, fallback=fallback, ca=CA if proxy.secure else None))
    written = with_files(*setup.files)
    written = written._replace(folders=written.folders | ({"etc/crio"} if kind == "crio" else set()))
    if kind == "containerd":
        config = (
            'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\nconfig_path = "/etc/containerd/certs.d"\n'
        )
        written = node({**written.texts, "etc/containerd/config.toml": config})
    found = asked(written, proxy=proxy)
    assert {chain.registry for chain in found} == {"docker.io", "ghcr.io", "registry.test"}
    assert [trouble for chain in found for trouble in chain.troubles] == []
    dead = "directly" if fallback is Fallback.YES or kind in ALWAYS_FALLS_BACK else "fails"
    for chain in found:
        assert outcome(chain, ProxyCondition.UP).goes.value == "through the proxy", chain
        assert outcome(chain, ProxyCondition.DEAD).goes.value == dead, chain


def test_containerd_has_a_folder_for_each_registry() -> None:
    written = files(SETUPS["containerd"](wish(HUB, WITH_PORT)))
    assert written["etc/containerd/certs.d/docker.io/hosts.toml"] == (
        'server = "https://registry-1.docker.io"\n\n[host."http://10.0.0.5:5000"]\n'
        '  capabilities = ["pull", "resolve"]\n  dial_timeout = "5s"\n'
    )
    assert set(written) == {
        "etc/containerd/certs.d/docker.io/hosts.toml",
        "etc/containerd/certs.d/registry.test_5010_/hosts.toml",
    }


def test_containerd_s_default_stands_for_names_with_a_star() -> None:
    setup = SETUPS["containerd"](wish(HUB, ECR))
    default = tomllib.loads(files(setup)["etc/containerd/certs.d/_default/hosts.toml"])
    assert default == {"host": {"http://10.0.0.5:5000": {"capabilities": ["pull", "resolve"], "dial_timeout": "5s"}}}
    closed = SETUPS["containerd"](wish(HUB, ECR, fallback=Fallback.NO))
    assert tomllib.loads(files(closed)["etc/containerd/certs.d/_default/hosts.toml"])["server"] == str(PROXY)
    assert any("cannot be pulled" in note for note in closed.notes)


def test_both_places_of_config_path_are_told() -> None:
    notes = "".join(SETUPS["containerd"](wish()).notes)
    for plugin in ("io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"):
        assert f'[plugins."{plugin}".registry]' in notes


def test_docker_is_told_of_docker_hub_alone() -> None:
    setup = SETUPS["docker"](wish())
    assert json.loads(files(setup)["etc/docker/daemon.json"]) | {"labels": []} == {
        "registry-mirrors": ["http://10.0.0.5:5000"],
        "insecure-registries": ["10.0.0.5:5000"],
        "labels": [],
    }
    assert any("10.0.0.5:5000/ghcr.io/" in note for note in setup.notes)


@pytest.mark.parametrize("wished", [wish(default=None), wish(GHCR, default="ghcr.io"), wish(default="ghcr.io")])
def test_docker_gets_no_mirror_where_bare_paths_mean_something_else(wished: Wish) -> None:
    setup = SETUPS["docker"](wished)
    assert "registry-mirrors" not in files(setup)["etc/docker/daemon.json"]
    assert any("default_upstream: docker.io" in note for note in setup.notes)


def test_podman_has_each_registry_s_name_in_the_path() -> None:
    written = files(SETUPS["podman"](wish(HUB, PLAIN)))["etc/containers/registries.conf.d/50-entrepot.conf"]
    assert tomllib.loads(written)["registry"] == [
        {
            "prefix": "docker.io",
            "location": "docker.io",
            "mirror": [{"location": "10.0.0.5:5000/docker.io", "insecure": True}],
        },
        {
            "prefix": "registry.test",
            "location": "127.0.0.1:5010",
            "insecure": True,
            "mirror": [{"location": "10.0.0.5:5000/registry.test", "insecure": True}],
        },
    ]


def test_podman_without_a_fallback_knows_the_proxy_as_the_registry() -> None:
    written = files(SETUPS["podman"](wish(HUB, proxy=SECURE, fallback=Fallback.NO, ca=CA)))
    assert tomllib.loads(written["etc/containers/registries.conf.d/50-entrepot.conf"])["registry"] == [
        {"prefix": "docker.io", "location": "entrepot.internal/docker.io"}
    ]
    assert written["etc/containers/certs.d/entrepot.internal/ca.crt"] == CA


@pytest.mark.parametrize("kind", ["podman", "crio", "buildkit"])
@pytest.mark.parametrize("left_out", [WITH_PORT, ECR], ids=lambda registry: registry.name)
def test_who_needs_a_path_is_not_told_of_what_has_none(kind: str, left_out: MirroredRegistry) -> None:
    setup = SETUPS[kind](wish(HUB, left_out))
    assert all(left_out.name not in file.text for file in setup.files)
    assert any(note.startswith(f"{left_out.name} is left out") for note in setup.notes)


def test_buildkit_may_speak_plainly_to_the_proxy() -> None:
    written = tomllib.loads(files(SETUPS["buildkit"](wish(HUB)))["etc/buildkit/buildkitd.toml"])
    assert written["registry"] == {
        "docker.io": {"mirrors": ["10.0.0.5:5000/docker.io"]},
        "10.0.0.5:5000": {"http": True},
    }


def test_bottlerocket_has_mirrors_and_trust_in_its_user_data() -> None:
    written = tomllib.loads(files(SETUPS["bottlerocket"](wish(HUB, ECR, proxy=SECURE, ca=CA)))["user-data.toml"])
    assert written["settings"]["container-registry"]["mirrors"] == [
        {"registry": "docker.io", "endpoint": ["https://entrepot.internal"]},
        {"registry": "*", "endpoint": ["https://entrepot.internal"]},
    ]
    trust = written["settings"]["pki"]["entrepot"]
    assert (b64decode(trust["data"]).decode(), trust["trusted"]) == (CA, True)


def test_k3s_and_rke2_have_mirrors_and_trust() -> None:
    for kind in ("k3s", "rke2"):
        written = files(SETUPS[kind](wish(HUB, ECR, proxy=SECURE, ca=CA, fallback=Fallback.NO)))
        assert yaml.safe_load(written[f"etc/rancher/{kind}/registries.yaml"]) == {
            "mirrors": {
                "docker.io": {"endpoint": ["https://entrepot.internal"]},
                "*": {"endpoint": ["https://entrepot.internal"]},
            },
            "configs": {"entrepot.internal": {"tls": {"ca_file": "/etc/entrepot/ca.crt"}}},
        }
        alone = yaml.safe_load(written[f"etc/rancher/{kind}/config.yaml.d/50-entrepot.yaml"])
        assert alone == {"disable-default-registry-endpoint": True}


@pytest.mark.parametrize("kind", ["docker", "buildkit", "bottlerocket"])
def test_who_cannot_be_kept_from_the_registry_is_said(kind: str) -> None:
    told = SETUPS[kind](wish(fallback=Fallback.NO)).notes
    assert any("always asks" in note for note in told)
    assert not any("always asks" in note for note in SETUPS[kind](wish()).notes)


@pytest.mark.parametrize("kind", ["containerd", "crio", "k3s", "rke2", "bottlerocket"])
def test_the_trap_of_kubelet_s_credential_provider_is_told_where_there_is_an_ecr_registry(kind: str) -> None:
    assert any("credential provider" in note for note in SETUPS[kind](wish(HUB, ECR)).notes)
    assert not any("credential provider" in note for note in SETUPS[kind](wish(HUB)).notes)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("http://entrepot.internal:5000", "http://entrepot.internal:5000"),
        ("entrepot.internal:5000", "http://entrepot.internal:5000"),
        ("https://Entrepot.Internal:443/", "https://entrepot.internal"),
        ("http://[::1]:5000", "http://[::1]:5000"),
    ],
)
def test_an_address_is_a_scheme_and_a_host(written: str, read: str) -> None:
    assert str(ProxyAddress.parse(written)) == read


@pytest.mark.parametrize(
    "written",
    [
        "",
        "ftp://a",
        "http://",
        "http://u:p@a:1",
        "http://a/b",
        "http://a:99999",
        "http://a:0",
        'http://a"b',
        "http://..",
        "..:5000",
        "-a:1",
        "http://a b",
    ],
)
def test_anything_else_is_no_address(written: str) -> None:
    with pytest.raises(ValueError, match="without user and path") as refused:
        ProxyAddress.parse(written)
    assert "u:p" not in str(refused.value)
