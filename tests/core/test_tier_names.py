"""Which names a tier takes: those of registries, as container clients read references, and nothing else."""

import pytest

from proxy.core.names import UpstreamNames
from proxy.upstream.forwarding import Forward, Naming

NAMES = UpstreamNames.of({"*", "ghcr.io", "*.dkr.test"}, None)


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("ghcr.io", "ghcr.io"),
        ("x.dkr.test", "*.dkr.test"),
        ("a.b.dkr.test", "*"),
        ("quay.io", "*"),
        ("registry.example.com:5000", "*"),
        ("localhost", "*"),
        ("localhost:5000", "*"),
        ("10.0.0.1:5000", "*"),
    ],
)
def test_a_registry_is_covered_by_the_narrowest_key(host: str, key: str) -> None:
    assert NAMES.configured(host) == key
    assert NAMES.find(host) == host


@pytest.mark.parametrize(
    "host",
    ["*", "*.dkr.test", "library", "", ".", "a..b", "-a.b", "GHCR.IO", "a.b:", "a.b:123456", "a_b.c", "a.b/c",
     "x" * 64 + ".io", ".".join(["abcdefg"] * 40), "ghcr.io:1:2", "a.b?ns=c", "a.b%20"],
)  # fmt: skip
def test_what_is_no_registrys_name_is_nobodys(host: str) -> None:
    assert NAMES.configured(host) is None


def test_without_a_tier_only_what_is_configured_is_known() -> None:
    assert UpstreamNames.of({"ghcr.io"}, None).configured("quay.io") is None


def test_docker_hubs_aliases_are_one_name() -> None:
    assert NAMES.find("registry-1.docker.io") == NAMES.find("index.docker.io") == "docker.io"


@pytest.mark.parametrize(
    ("forward", "repository", "path"),
    [
        (None, "o/i", "/v2/o/i/tags/list?n=1"),
        (Forward.PATH, "r.io:5000/o/i", "/v2/o/i/tags/list?n=1"),
        (Forward.NS, "o/i", "/v2/o/i/tags/list?n=1&ns=r.io%3A5000"),
    ],
)
def test_a_registry_is_named_to_the_other_one(forward: Forward | None, repository: str, path: str) -> None:
    naming = Naming("r.io:5000", forward)
    assert naming.repository("o/i") == repository
    assert naming.path("/v2/o/i/tags/list?n=1") == path
    assert naming.path("/v2/") == "/v2/"
