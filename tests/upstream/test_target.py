"""Hosts and realms: who may be sent what."""

import pytest

from proxy.upstream.challenge import realm_allowed, realm_may_be_asked
from proxy.upstream.target import Origin, TargetRefused, parse_location, parse_target


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("https://Registry.Test", Origin("https", "registry.test", 443), "/"),
        ("https://registry.test./v2/", Origin("https", "registry.test", 443), "/v2/"),
        ("http://registry.test:5000/a?b=c#d", Origin("http", "registry.test", 5000), "/a?b=c"),
        ("https://b\u00fccher.test/", Origin("https", "xn--bcher-kva.test", 443), "/"),
        ("http://[::1]:80/", Origin("http", "::1", 80), "/"),
        (
            "https://s3.test/a%2Fb?X-Amz-Signature=ab%3D",
            Origin("https", "s3.test", 443),
            "/a%2Fb?X-Amz-Signature=ab%3D",
        ),
    ],
)
def test_a_url_is_taken_apart(url: str, origin: Origin, path: str) -> None:
    assert parse_target(url) == (origin, path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "registry.test",
        "ftp://registry.test/",
        "file:///etc/passwd",
        "https://user@registry.test/",
        "https://user:pw@registry.test/",
        "https://registry.test\\@evil.test/",
        "https://registry.test:0/",
        "https://registry.test:99999/",
        "https://registry.test:x/",
        "https://registry.test/\r\nX: y",
        "https://registry.test/a b",
        "https://[fe80::1%25eth0]/",
        "https://[::1/",
        "https://" + "a" * 300 + "/",
        "https://evil,test/",
        "https:///path",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://registry.1/",
        "https://registry.test/" + "x" * 20000,
    ],
)
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(TargetRefused):
        parse_target(url)


def test_a_target_is_shown_without_its_signature() -> None:
    target = parse_target("https://s3.test/blob?X-Amz-Signature=secret")
    assert str(target) == "https://s3.test/blob"
    assert target.url.endswith("secret")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/other?x=1", "https://registry.test/other?x=1"),
        ("next", "https://registry.test/v2/a/next"),
        ("//cdn.test/b", "https://cdn.test/b"),
        ("http://cdn.test/b", "http://cdn.test/b"),
        ("?x", "https://registry.test/v2/a/b?x"),
    ],
)
def test_locations_may_be_relative(location: str, expected: str) -> None:
    assert parse_location(parse_target("https://registry.test/v2/a/b"), location).url == expected


@pytest.mark.parametrize("location", ["", "https://u@cdn.test/", "javascript:x", "http://[", "\thttps://cdn.test"])
def test_odd_locations_are_refused(location: str) -> None:
    with pytest.raises(TargetRefused):
        parse_location(parse_target("https://registry.test/"), location)


REALMS = [
    ("https://registry.test", "https://registry.test/token", (), True, "its own origin"),
    ("https://registry.test", "https://REGISTRY.test.:443/token", (), True, "its own origin in other letters"),
    ("https://registry.test", "https://registry.test:8443/token", (), False, "another port where the URL names none"),
    (
        "https://registry.test:5000",
        "https://registry.test:5001/token",
        (),
        True,
        "another port where the URL names one",
    ),
    ("https://registry.test:5000", "https://registry.test/token", (), True, "the default port where the URL names one"),
    ("https://registry.test", "http://registry.test/token", (), False, "http"),
    ("https://registry.test:5000", "http://registry.test:5000/token", (), False, "http on the same port"),
    ("http://registry.test:5000", "http://registry.test:5000/token", (), True, "http for a registry of http"),
    ("https://registry.test", "https://evil-registry.test/", (), False, "a prefix"),
    ("https://registry.test", "https://registry.test.evil.test/", (), False, "a suffix"),
    ("https://registry.test", "https://auth.registry.test/", (), False, "a subdomain"),
    ("https://registry.test", "https://auth.test/", ("auth.test",), True, "listed"),
    ("https://registry.test", "https://auth.test:444/", ("auth.test",), False, "listed, another port"),
    ("https://registry.test", "https://auth.test:444/", ("auth.test:444",), True, "listed with its port"),
    ("https://registry.test", "http://auth.test/", ("http://auth.test",), False, "listed, but http"),
    ("http://registry.test", "http://auth.test/", ("http://auth.test",), True, "listed, http for http"),
    ("https://registry.test", "https://127.0.0.1/", (), False, "an address"),
    ("https://registry-1.docker.io", "https://auth.docker.io/token", (), True, "Docker Hub's"),
    ("https://registry-1.docker.io", "https://evil-docker.io/token", (), False, "not Docker Hub's"),
    ("https://registry-1.docker.io", "https://docker.io.evil.test/", (), False, "not Docker Hub's either"),
    ("https://registry-1.docker.io", "https://auth.d\u043ecker.io/", (), False, "another alphabet"),
    ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", (), True, "GitLab's"),
    ("https://registry.test", "https://auth.docker.io/token", (), False, "Docker Hub's, for another registry"),
]


@pytest.mark.parametrize(("home", "realm", "listed", "allowed", "why"), REALMS, ids=[row[-1] for row in REALMS])
def test_credentials_go_only_to_trusted_realms(
    home: str, realm: str, listed: tuple[str, ...], allowed: bool, why: str
) -> None:
    names_port = home.count(":") > 1
    assert realm_allowed(parse_target(realm).origin, parse_target(home).origin, names_port, listed) is allowed


def test_an_anonymous_token_may_come_from_any_https_realm() -> None:
    home = Origin("https", "registry.test", 443)
    assert realm_may_be_asked(Origin("https", "anywhere.test", 443), home)
    assert not realm_may_be_asked(Origin("http", "anywhere.test", 80), home)
