"""What a node's files come to: whom a pull asks, which line decides it, and what is wrong."""

import pytest

from proxy.clients.chains import Chain, ProxyCondition, outcome
from proxy.clients.node_files import NodeFiles
from proxy.clients.setups import MirroredRegistry, ProxyAddress
from tests.clients.cast import GHCR, HUB, SECURE, asked, node, ways

CERTS = "etc/containerd/certs.d"
HOSTS = f"{CERTS}/docker.io/hosts.toml"
CONFIG = "etc/containerd/config.toml"
OLD, NEW = "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"
HERE = '[host."http://10.0.0.5:5000"]\n'
THROUGH, DIRECTLY = "through the proxy", "directly"


def config(plugin: str = OLD, version: int = 2, path: str = "/etc/containerd/certs.d") -> str:
    return f'version = {version}\n[plugins."{plugin}".registry]\n  config_path = "{path}"\n'


def older(url: str, name: str = "docker.io") -> str:
    return f'[plugins."{OLD}".registry.mirrors."{name}"]\nendpoint = ["{url}"]\n'


def only(files: NodeFiles, registry: MirroredRegistry = HUB, default: str | None = "docker.io") -> Chain:
    [chain] = asked(files, registry, default=default)
    return chain


def wrong(chain: Chain) -> str:
    return "; ".join(f"{trouble.place} {trouble.what}" for trouble in chain.troubles)


def test_a_node_without_any_client_has_no_way() -> None:
    assert asked(node({})) == []


# ---------------------------------------------------------------- containerd


@pytest.mark.parametrize(("plugin", "version"), [(OLD, 2), (NEW, 3), (NEW, 2)])
def test_containerd_goes_by_its_host_and_then_by_server(plugin: str, version: int) -> None:
    hosts = f'server = "https://registry-1.docker.io"\n{HERE}capabilities = ["pull", "resolve"]\n'
    chain = only(node({HOSTS: hosts, CONFIG: config(plugin, version)}))
    assert ways(chain) == {
        "up": THROUGH,
        "slow": "directly after 30 s for each request",
        "dead": DIRECTLY,
    }
    assert str(outcome(chain, ProxyCondition.UP).place) == f"/{HOSTS}:2"
    assert str(outcome(chain, ProxyCondition.DEAD).place) == f"/{HOSTS}:1"
    assert not chain.troubles


def test_containerd_fails_where_the_proxy_is_its_own_last_resort() -> None:
    chain = only(node({HOSTS: f'server = "http://10.0.0.5:5000"\n{HERE}'}))
    assert ways(chain)["dead"] == "fails"
    assert str(outcome(chain, ProxyCondition.DEAD).place) == f"/{HOSTS}"


@pytest.mark.parametrize(
    ("hosts", "what"),
    [
        ('[host."10.0.0.5:5000"]\n', "has no scheme"),
        ('[host."https://10.0.0.5:5000"]\n', "by TLS"),
        (f'{HERE}capabilities = ["pull"]\n', "tags are asked of the next host"),
        (f'{HERE}capabilities = ["resolve"]\n', "not the capability pull"),
        (f'{HERE}capabilities = ["pull", "rsolve"]\n', "no capability is called rsolve"),
        ('[host."http://10.0.0.5:5000/docker.io"]\n', "requests to /docker.io/v2/"),
        ('[host."http://10.0.0.5:5000"]\noverride_path = true\n', "requests to /…"),
        (f'{HERE}ca = "ca.crt"\n', "is not there"),
        ("[host", "is no TOML"),
    ],
)
def test_a_hosts_toml_that_does_not_do_is_told_with_its_line(hosts: str, what: str) -> None:
    chain = only(node({HOSTS: hosts}))
    assert what in wrong(chain)
    assert ways(chain)["up"] == DIRECTLY
    assert chain.troubles[0].place.path == HOSTS


@pytest.mark.parametrize("url", ["http://10.0.0.5:5000", "http://10.0.0.5:5000/", "http://10.0.0.5:5000/v2"])
def test_a_path_that_comes_to_the_api_is_none(url: str) -> None:
    assert ways(only(node({HOSTS: f'[host."{url}"]\n'})))["up"] == THROUGH


def test_the_path_form_does_where_it_is_taken_as_it_is() -> None:
    hosts = '[host."http://10.0.0.5:5000/v2/docker.io"]\noverride_path = true\n'
    assert not only(node({HOSTS: hosts})).troubles


def test_without_config_path_kubernetes_looks_at_no_hosts_toml() -> None:
    chain = only(node({HOSTS: HERE, CONFIG: "version = 2\n"}))
    assert (ways(chain)["up"], "config_path is not set" in wrong(chain)) == (DIRECTLY, True)


def test_nothing_is_wrong_with_a_config_toml_that_no_file_waits_for() -> None:
    assert not only(node({CONFIG: "version = 2\n"})).troubles


def test_the_older_plugin_is_passed_over_in_a_file_of_the_newer_version() -> None:
    chain = only(node({HOSTS: HERE, CONFIG: config(OLD, 3)}))
    assert (ways(chain)["up"], f"/{CONFIG}:3" in wrong(chain)) == (DIRECTLY, True)


def test_mirrors_beside_config_path_end_the_cri() -> None:
    chain = only(node({HOSTS: HERE, CONFIG: config() + older("http://10.0.0.5:5000")}))
    assert (ways(chain)["up"], "pulls nothing" in wrong(chain)) == ("fails", True)


@pytest.mark.parametrize("name", ["docker.io", "*"])
def test_mirrors_of_the_older_form_are_asked_before_the_registry(name: str) -> None:
    chain = only(node({CONFIG: "version = 2\n" + older("http://10.0.0.5:5000", name)}))
    assert (ways(chain)["up"], ways(chain)["dead"], wrong(chain)) == (THROUGH, DIRECTLY, "")
    assert str(outcome(chain, ProxyCondition.UP).place) == f"/{CONFIG}:3"


def test_the_path_of_an_older_mirror_is_taken_as_it_is() -> None:
    for url, good in (("http://10.0.0.5:5000/v2/docker.io", True), ("http://10.0.0.5:5000/docker.io", False)):
        chain = only(node({CONFIG: "version = 2\n" + older(url)}))
        assert (ways(chain)["up"] == THROUGH, wrong(chain) == "") == (good, good)


def test_a_file_counts_once_it_is_imported() -> None:
    files = {HOSTS: HERE, "etc/containerd/conf.d/50.toml": config()}
    main = 'version = 2\nimports = ["/etc/containerd/conf.d/*.toml"]\n'
    assert ways(only(node({**files, CONFIG: main})))["up"] == THROUGH
    assert "config_path is not set" in wrong(only(node({**files, CONFIG: "version = 2\n"})))


def test_several_folders_are_looked_into_and_doubted() -> None:
    files = node({HOSTS: HERE, CONFIG: config(path="/opt/certs.d:/etc/containerd/certs.d")})
    chain = only(files)
    assert (ways(chain)["up"], "several folders" in wrong(chain)) == (THROUGH, True)


def test_a_folder_without_hosts_toml_hides_the_default() -> None:
    default = {f"{CERTS}/_default/hosts.toml": HERE}
    assert ways(only(node(default)))["up"] == THROUGH
    hidden = only(node(default, f"{CERTS}/docker.io"))
    assert (ways(hidden)["up"], "has no hosts.toml" in wrong(hidden)) == (DIRECTLY, True)


def test_a_port_has_two_names_of_which_the_safe_one_comes_first() -> None:
    registry = MirroredRegistry("a.test:1", "https://a.test:1")
    files = {f"{CERTS}/a.test:1/hosts.toml": '[host."http://10.0.0.9"]\n', f"{CERTS}/a.test_1_/hosts.toml": HERE}
    assert ways(only(node(files), registry))["up"] == THROUGH


def test_another_mirror_is_elsewhere() -> None:
    assert ways(only(node({HOSTS: '[host."http://10.0.0.9:5000"]\n'})))["up"] == "elsewhere (http://10.0.0.9:5000)"


# ---------------------------------------------------------------- docker


DAEMON = "etc/docker/daemon.json"


def daemon(mirror: str = "http://10.0.0.5:5000", insecure: str = '["10.0.0.5:5000"]') -> NodeFiles:
    return node({DAEMON: f'{{\n"registry-mirrors": ["{mirror}"],\n"insecure-registries": {insecure}}}'})


def test_docker_asks_its_mirror_for_docker_hub_alone() -> None:
    hub, other = asked(daemon(), HUB, GHCR)
    assert ways(hub) == {"up": THROUGH, "slow": "directly after 15 s", "dead": DIRECTLY}
    assert ways(other)["up"] == DIRECTLY
    assert str(outcome(hub, ProxyCondition.UP).place) == f"/{DAEMON}:2"


@pytest.mark.parametrize(
    ("files", "default", "what"),
    [
        (daemon(), None, "bare paths"),
        (daemon(), "ghcr.io", "mean ghcr.io"),
        (daemon("https://10.0.0.5:5000"), "docker.io", "by TLS"),
        (daemon("http://10.0.0.5:5000/docker.io"), "docker.io", "more than host and port"),
        (node({DAEMON: "{"}), "docker.io", "is no JSON"),
    ],
)
def test_a_mirror_that_docker_cannot_use_is_told(files: NodeFiles, default: str | None, what: str) -> None:
    chain = only(files, default=default)
    assert what in wrong(chain)
    assert ways(chain)["up"] != THROUGH


@pytest.mark.parametrize("allowed", ['["10.0.0.5:5000"]', '["10.0.0.0/8"]'])
def test_images_named_after_the_proxy_need_plain_http_to_be_allowed(allowed: str) -> None:
    assert not only(daemon(insecure=allowed), GHCR).troubles
    assert "plain http is not allowed" in wrong(only(daemon(insecure="[]"), GHCR))


# ---------------------------------------------------------------- podman and CRI-O


MAIN = "etc/containers/registries.conf"
DROP_IN = "etc/containers/registries.conf.d/50.conf"


def mirrored(location: str = "10.0.0.5:5000/docker.io", more: str = "insecure = true") -> str:
    return (
        f'[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n'
        f'[[registry.mirror]]\nlocation = "{location}"\n{more}\n'
    )


def test_podman_goes_by_its_mirror_and_then_by_the_registry() -> None:
    chain = only(node({DROP_IN: mirrored()}))
    assert ways(chain) == {"up": THROUGH, "slow": "waits without end", "dead": DIRECTLY}
    assert [str(outcome(chain, condition).place) for condition in ProxyCondition] == [
        f"/{DROP_IN}:5",
        f"/{DROP_IN}:5",
        f"/{DROP_IN}:2",
    ]
    assert not chain.troubles


def test_cri_o_reads_what_podman_reads() -> None:
    assert [chain.client for chain in asked(node({MAIN: mirrored()}, "etc/crio"), HUB)] == ["podman", "CRI-O"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (mirrored(more=""), "plain http is not allowed"),
        (mirrored("10.0.0.5:5000/hub"), "does not name docker.io"),
        (mirrored("http://10.0.0.5:5000/docker.io"), "has a scheme"),
        (mirrored(more='insecure = true\npull-from-mirror = "digest-only"'), "tags are asked of the next"),
        (mirrored().replace("[[registry.mirror]]", "mirror-by-digest-only = true\n[[registry.mirror]]"), "digest-only"),
        (mirrored().replace("[[registry.mirror]]", "blocked = true\n[[registry.mirror]]"), "is blocked"),
        ('[registries.search]\nregistries = ["docker.io"]\n', "version 1"),
        ("[[registry", "is no TOML"),
    ],
)
def test_a_registries_conf_that_does_not_do_is_told(text: str, what: str) -> None:
    chain = only(node({MAIN: text}))
    assert what in wrong(chain)
    assert ways(chain)["up"] != THROUGH


def test_a_mirror_without_a_name_in_its_path_does_for_what_bare_paths_mean() -> None:
    files = node({MAIN: mirrored("10.0.0.5:5000")})
    assert not only(files).troubles
    assert "takes it for ghcr.io" in wrong(only(files, default="ghcr.io"))


def test_of_two_with_one_prefix_the_later_file_counts() -> None:
    files = {MAIN: mirrored(), DROP_IN: mirrored("10.0.0.9:5000/docker.io")}
    assert ways(only(node(files)))["up"] == "elsewhere (10.0.0.9:5000/docker.io)"


def test_a_longer_prefix_goes_its_own_way() -> None:
    other = '[[registry]]\nlocation = "docker.io/library"\n'
    assert "docker.io/library goes its own way" in wrong(only(node({MAIN: mirrored() + other})))


def test_without_an_entry_podman_pulls_directly() -> None:
    assert ways(only(node({MAIN: 'unqualified-search-registries = ["docker.io"]\n'})))["up"] == DIRECTLY


# ---------------------------------------------------------------- BuildKit, k3s, RKE2


BUILDKIT = "etc/buildkit/buildkitd.toml"
K3S = "etc/rancher/k3s/registries.yaml"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('[registry."docker.io"]\nmirrors = ["10.0.0.5:5000/docker.io"]\n', "plain http is not allowed"),
        (
            '[registry."docker.io"]\nmirrors = ["10.0.0.5:5000/hub"]\n[registry."10.0.0.5:5000"]\nhttp = true\n',
            "it names hub",
        ),
        ("[registry", "is no TOML"),
    ],
)
def test_a_buildkitd_toml_that_does_not_do_is_told(text: str, what: str) -> None:
    chain = only(node({BUILDKIT: text}))
    assert what in wrong(chain)
    assert ways(chain)["up"] != THROUGH


def mirrors(endpoint: str = "http://10.0.0.5:5000", key: str = "docker.io", more: str = "") -> str:
    return f'mirrors:\n  "{key}":\n    endpoint:\n      - "{endpoint}"\n{more}'


@pytest.mark.parametrize("key", ["docker.io", "*"])
def test_k3s_goes_by_its_endpoints_and_then_by_the_registry(key: str) -> None:
    chain = only(node({K3S: mirrors(key=key)}))
    assert (ways(chain)["up"], ways(chain)["dead"]) == (THROUGH, DIRECTLY)
    assert str(outcome(chain, ProxyCondition.UP).place) == f"/{K3S}:4"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (mirrors("https://10.0.0.5:5000"), "by TLS"),
        (mirrors("10.0.0.5:5000"), "by TLS"),
        (mirrors("http://10.0.0.5:5000/docker.io"), "requests to /docker.io/"),
        (mirrors(more='    rewrite:\n      "(.*)": "mirror/$1"\n'), "rewrite makes mirror/$1"),
        ("mirrors: [", "is no YAML"),
    ],
)
def test_a_registries_yaml_that_does_not_do_is_told(text: str, what: str) -> None:
    chain = only(node({K3S: text}))
    assert what in wrong(chain)
    assert ways(chain)["up"] != THROUGH


@pytest.mark.parametrize(
    "text",
    [
        mirrors(more='    rewrite:\n      "(.*)": "docker.io/$1"\n'),
        mirrors("http://10.0.0.5:5000/v2/docker.io"),
        mirrors("http://10.0.0.5:5000/v2"),
        mirrors("http://10.0.0.5:5000/"),
    ],
)
def test_the_path_form_says_twice_to_k3s_what_is_meant(text: str) -> None:
    assert not only(node({K3S: text})).troubles


def test_k3s_speaks_plainly_to_loopback_where_no_scheme_is_written() -> None:
    [chain] = asked(node({K3S: mirrors("127.0.0.1:5000")}), HUB, proxy=ProxyAddress.parse("127.0.0.1:5000"))
    assert ways(chain)["up"] == THROUGH


def test_k3s_may_be_kept_from_the_registry_for_what_has_mirrors() -> None:
    files = node({K3S: mirrors(), "etc/rancher/k3s/config.yaml": "disable-default-registry-endpoint: true\n"})
    hub, other = asked(files, HUB, GHCR)
    assert (ways(hub)["dead"], ways(other)["dead"]) == ("fails", DIRECTLY)
    assert str(outcome(hub, ProxyCondition.DEAD).place) == "/etc/rancher/k3s/config.yaml:1"


# ---------------------------------------------------------------- all


@pytest.mark.parametrize(
    "files",
    [
        node({HOSTS: HERE}),
        daemon(),
        node({MAIN: mirrored()}),
        node({K3S: mirrors()}),
    ],
    ids=["containerd", "docker", "podman", "k3s"],
)
def test_files_for_another_proxy_are_elsewhere(files: NodeFiles) -> None:
    [chain] = asked(files, HUB, proxy=SECURE)
    assert ways(chain)["up"].startswith("elsewhere")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (DAEMON, '{"registry-mirrors": ["http://["], "insecure-registries": ["["]}'),
        (HOSTS, '[host."http://["]'),
        (MAIN, '[[registry]]\nprefix = "docker.io"\nlocation = "["'),
        (BUILDKIT, '[registry."docker.io"]\nmirrors = ["["]'),
        (K3S, mirrors("http://[")),
    ],
)
def test_an_address_that_is_none_is_elsewhere(path: str, text: str) -> None:
    assert ways(only(node({path: text})))["up"].startswith("elsewhere")


@pytest.mark.parametrize("path", [HOSTS, CONFIG, DAEMON, MAIN, BUILDKIT, K3S])
@pytest.mark.parametrize(
    "text", ["[]", "{}", "host = 3\nregistry = 3\nplugins = 3\n", "null", "\0", "mirrors: 3", "- 1"]
)
def test_any_text_in_a_file_is_an_answer(path: str, text: str) -> None:
    for chain in asked(node({path: text, **({CONFIG: config(), HOSTS: text} if path == HOSTS else {})})):
        assert ways(chain)["up"] != THROUGH
