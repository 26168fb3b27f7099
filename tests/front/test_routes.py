"""From a request line to what is asked."""

import pytest

from proxy.core.errors import (
    DigestInvalid,
    Fault,
    MethodUnsupported,
    NameInvalid,
    PageInvalid,
    RequestMalformed,
    RouteUnknown,
    SeveralRanges,
    TagInvalid,
    UpstreamUnknown,
)
from proxy.core.names import Digest, Repository, Tag, UpstreamNames
from proxy.core.operations import BlobPull, CatalogList, ManifestPull, Ping, ReferrersList, TagList
from proxy.core.ranges import AskedRange
from proxy.front.routes import parse

D = Digest.of(b"")
NAMES = UpstreamNames.of(["docker.io", "ghcr.io", "registry.test:5000"], "docker.io")
HUB = Repository("docker.io", "library/redis")


@pytest.mark.parametrize(
    ("target", "repository"),
    [
        ("/v2/library/redis/manifests/7?ns=docker.io", HUB),
        ("/v2/library/redis/manifests/7?ns=index.docker.io", HUB),
        ("/v2/docker.io/library/redis/manifests/7", HUB),
        ("/v2/library/redis/manifests/7", HUB),
        ("/v2/redis/manifests/7", HUB),
        ("/v2/docker.io/redis/manifests/7", HUB),
        ("/v2/docker.io/library/redis/manifests/7?ns=docker.io", HUB),
        ("/v2/a/b/manifests/7?ns=ghcr.io", Repository("ghcr.io", "a/b")),
        ("/v2/ghcr.io/a/manifests/7", Repository("ghcr.io", "a")),
        ("/v2/ghcr.io/manifests/7", Repository("docker.io", "library/ghcr.io")),
        ("/v2/localhost/manifests/7", Repository("docker.io", "library/localhost")),
        ("/v2/a.b/c/manifests/7?ns=docker.io", Repository("docker.io", "a.b/c")),
        ("/v2/docker.io/x/manifests/7?ns=ghcr.io", Repository("ghcr.io", "docker.io/x")),
        ("/v2/a/b/manifests/7?ns=registry.test%3A5000", Repository("registry.test:5000", "a/b")),
        ("/v2/registry.test:5000/a/manifests/7", Repository("registry.test:5000", "a")),
        ("/v2/ghcr.io/foo/manifests/manifests/7", Repository("ghcr.io", "foo/manifests")),
        ("/v2/ghcr.io/tags/list/manifests/7", Repository("ghcr.io", "tags/list")),
    ],
)
def test_three_address_forms_name_the_repository(target: str, repository: Repository) -> None:
    assert parse("GET", target, {}, NAMES).operation == ManifestPull(repository, Tag("7"), None)


def test_the_operations() -> None:
    def operation(target: str, **headers: str) -> object:
        names = {key.replace("_", "-").lower(): value for key, value in headers.items()}
        return parse("GET", target, names, NAMES).operation

    assert operation("/v2/") == operation("/v2") == Ping()
    assert operation("/v2/_catalog?n=5&last=x") == CatalogList(5, "x")
    assert operation("/v2/redis/tags/list?n=5&last=x") == TagList(HUB, 5, "n=5&last=x")
    opaque = "next_page=" + "x" * 2000
    assert operation(f"/v2/redis/tags/list?ns=docker.io&{opaque}") == TagList(HUB, None, opaque)
    assert operation("/v2/redis/tags/list?n=10000&nextToken=a%2Fb") == TagList(HUB, 1000, "n=1000&nextToken=a%2Fb")
    assert operation(f"/v2/redis/blobs/{D}") == BlobPull(HUB, D, None, None)
    assert operation(f"/v2/redis/blobs/{D.replace(':', '%3A')}") == BlobPull(HUB, D, None, None)
    assert operation(f"/v2/redis/manifests/{D}", If_None_Match="*") == ManifestPull(HUB, D, "*")
    referrers = operation(f"/v2/redis/referrers/{D}?artifactType=a/b&ns=docker.io")
    assert referrers == ReferrersList(HUB, D, "artifactType=a/b")


def test_a_range_counts_only_while_its_condition_holds() -> None:
    def asked(**headers: str) -> AskedRange | None:
        names = {key.replace("_", "-").lower(): value for key, value in headers.items()}
        operation = parse("GET", f"/v2/redis/blobs/{D}", names, NAMES).operation
        assert isinstance(operation, BlobPull)
        return operation.range

    assert asked(Range="bytes=1-") == AskedRange(1, None)
    assert asked(Range="bytes=1-", If_Range=f'"{D}"') == AskedRange(1, None)
    assert asked(Range="bytes=1-", If_Range=f'W/"{D}"') is None
    assert asked(Range="bytes=1-", If_Range='"other"') is None


@pytest.mark.parametrize(
    ("target", "namespace"),
    [
        ("/v2/?ns=ghcr.io", "ghcr.io"),
        ("/v2/", None),
        ("/v2/?ns=evil%0d%0aSet-Cookie:%20a", None),
    ],
)
def test_only_the_name_of_an_upstream_is_echoed(target: str, namespace: str | None) -> None:
    assert parse("GET", target, {}, NAMES).namespace == namespace


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("/", RouteUnknown),
        ("/v1/", RouteUnknown),
        ("/v2/redis", RouteUnknown),
        ("//v2//redis/manifests/7", RouteUnknown),
        ("/v2/redis/manifests/", RouteUnknown),
        ("/v2//manifests/7", RouteUnknown),
        ("/v2/redis/uploads/7", RouteUnknown),
        ("/v2/a//b/manifests/7", NameInvalid),
        ("/v2/../b/manifests/7", NameInvalid),
        ("/v2/%2e%2e/b/manifests/7", NameInvalid),
        ("/v2/a%2fb/manifests/7", NameInvalid),
        ("/v2/a%2Fb/manifests/7", NameInvalid),
        ("/v2/a%00/manifests/7", NameInvalid),
        ("/v2/a%0a/manifests/7", NameInvalid),
        ("/v2/A/manifests/7", NameInvalid),
        ("/v2/a%5cb/manifests/7", NameInvalid),
        ("/v2/%ef%bc%8e%ef%bc%8e/manifests/7", NameInvalid),
        (f"/v2/{'a' * 300}/manifests/7", NameInvalid),
        ("/v2/a%ff/manifests/7", RequestMalformed),
        ("/v2/a/manifests/.hidden", TagInvalid),
        ("/v2/a/manifests/a%0a", TagInvalid),
        ("/v2/a/manifests/" + "a" * 129, TagInvalid),
        ("/v2/a/manifests/sha256:baddigeststring", DigestInvalid),
        ("/v2/a/blobs/latest", DigestInvalid),
        ("/v2/a/blobs/sha256:" + "A" * 64, DigestInvalid),
        ("/v2/a/referrers/latest", DigestInvalid),
        ("/v2/a/tags/list?n=-1", PageInvalid),
        ("/v2/a/tags/list?n=x", PageInvalid),
        ("/v2/_catalog?n=", PageInvalid),
        ("/v2/_catalog?last=" + "x" * 2000, RequestMalformed),
        ("/v2/_catalog?last=%0a", RequestMalformed),
        ("/v2/a/tags/list?last=\xe9", RequestMalformed),
        ("/v2/a/tags/list?last=a\x7f", RequestMalformed),
        ("/v2/a/tags/list?" + "&".join(f"x{n}=1" for n in range(40)), RequestMalformed),
        ("/v2/a/manifests/7?ns=evil.test", UpstreamUnknown),
        ("/v2/a/manifests/7?ns=", UpstreamUnknown),
        ("/v2/a/manifests/7?ns=169.254.169.254", UpstreamUnknown),
        ("/v2/evil.test:80/a/manifests/7", UpstreamUnknown),
        ("/v2/registry.corp.internal/team/app/manifests/7", UpstreamUnknown),
        (f"/v2/registry.corp.internal/team/app/blobs/{D}", UpstreamUnknown),
        ("/v2/registry.corp.internal/team/app/tags/list", UpstreamUnknown),
        ("/v2/localhost/app/manifests/7", UpstreamUnknown),
        ("/v2/localhost:5000/app/manifests/7", UpstreamUnknown),
        ("/v2/10.0.0.7/app/manifests/7", UpstreamUnknown),
    ],
)
def test_what_is_outside_the_grammar_is_told_so(target: str, fault: type[Fault]) -> None:
    with pytest.raises(fault):
        parse("GET", target, {}, NAMES)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "get", "OPTIONS", "CONNECT"])
def test_only_get_and_head_pull(method: str) -> None:
    with pytest.raises(MethodUnsupported):
        parse(method, "/v2/a/blobs/uploads/", {}, NAMES)


def test_several_ranges_are_refused_on_a_blob() -> None:
    with pytest.raises(SeveralRanges):
        parse("GET", f"/v2/a/blobs/{D}", {"range": "bytes=0-1,3-4"}, NAMES)


def test_without_a_default_a_bare_path_means_nobody() -> None:
    with pytest.raises(UpstreamUnknown):
        parse("GET", "/v2/a/manifests/7", {}, UpstreamNames.of(["ghcr.io"], None))
