"""Which way out each address takes, by the conventions of Go's httpproxy and curl."""

import pytest

from proxy.core.egress import Egress, EgressInvalid, is_excepted, parse_exception, way_out

PROXY = "http://proxy.test:3128"
ENVIRON = {"HTTPS_PROXY": PROXY, "HTTP_PROXY": "http://plain.test:80"}


@pytest.mark.parametrize(
    ("entry", "host", "port", "covered"),
    [
        ("*", "a.io", 443, True),
        ("a.io", "a.io", 443, True),
        ("A.IO", "a.io", 443, True),
        ("a.io", "b.a.io", 443, True),
        ("a.io", "ba.io", 443, False),
        ("a.io.", "a.io", 443, True),
        ("a.io", "a.io.", 443, True),
        (".a.io", "b.a.io", 443, True),
        (".a.io", "c.b.a.io", 443, True),
        (".a.io", "a.io", 443, False),
        ("*.a.io", "b.a.io", 443, True),
        ("*.a.io", "a.io", 443, False),
        ("a.io:443", "a.io", 443, True),
        ("a.io:443", "a.io", 8443, False),
        (".a.io:8443", "b.a.io", 8443, True),
        (".a.io:8443", "b.a.io", 443, False),
        ("10.0.0.1", "10.0.0.1", 443, True),
        ("10.0.0.1", "110.0.0.1", 443, False),
        ("0.0.1", "10.0.0.1", 443, False),
        (".0.1", "10.0.0.1", 443, False),
        ("10.0.0.1:80", "10.0.0.1", 80, True),
        ("10.0.0.1:80", "10.0.0.1", 443, False),
        ("10.0.0.0/8", "10.200.0.1", 443, True),
        ("10.0.0.7/8", "10.200.0.1", 443, True),
        ("10.0.0.0/8", "11.0.0.1", 443, False),
        ("10.0.0.0/8", "a.io", 443, False),
        ("10.0.0.0/8", "::ffff:10.0.0.1", 443, True),
        ("fd00::/8", "fd12::1", 443, True),
        ("fd00::/8", "10.0.0.1", 443, False),
        ("::1", "::1", 443, True),
        ("[::1]", "::1", 443, True),
        ("[fd00::1]:80", "fd00::1", 80, True),
        ("[fd00::1]:80", "fd00::1", 81, False),
        ("fd00:0::1", "fd00::1", 443, True),
        ("10.0.0.0/33", "10.0.0.1", 443, False),
        ("http://a.io", "a.io", 443, False),
        ("", "a.io", 443, False),
        (".", "a.io", 443, False),
        (":443", "a.io", 443, False),
    ],
)
def test_what_an_exception_covers(entry: str, host: str, port: int, covered: bool) -> None:
    assert is_excepted(entry, host, port) is covered


@pytest.mark.parametrize(
    ("environ", "scheme", "host", "way"),
    [
        ({}, "https", "a.io", None),
        (ENVIRON, "https", "a.io", PROXY),
        (ENVIRON, "http", "a.io", "http://plain.test:80"),
        ({"https_proxy": PROXY}, "https", "a.io", PROXY),
        ({"https_proxy": PROXY}, "http", "a.io", None),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other.test"}, "https", "a.io", PROXY),
        ({"https_proxy": "", "HTTPS_PROXY": PROXY}, "https", "a.io", PROXY),
        ({"HTTPS_PROXY": "proxy.test:3128"}, "https", "a.io", PROXY),
        ({"HTTPS_PROXY": " "}, "https", "a.io", None),
        ({"HTTPS_PROXY": "http://me:it@proxy.test"}, "https", "a.io", "http://me:it@proxy.test"),
        (ENVIRON | {"NO_PROXY": "b.io,a.io"}, "https", "a.io", None),
        (ENVIRON | {"NO_PROXY": "b.io, a.io"}, "https", "a.io", None),
        (ENVIRON | {"no_proxy": "a.io", "NO_PROXY": "b.io"}, "https", "a.io", None),
        (ENVIRON | {"no_proxy": "a.io", "NO_PROXY": "b.io"}, "https", "b.io", PROXY),
        (ENVIRON | {"NO_PROXY": "*"}, "https", "a.io", None),
        (ENVIRON, "https", "localhost", None),
        (ENVIRON, "http", "127.1.2.3", None),
        (ENVIRON, "http", "::1", None),
        (ENVIRON, "https", "169.254.169.254", PROXY),
    ],
)
def test_the_environment_says_the_way(environ: dict[str, str], scheme: str, host: str, way: str | None) -> None:
    assert way_out(Egress(), environ, scheme, host, 443) == way


@pytest.mark.parametrize(
    ("egress", "host", "way"),
    [
        (Egress("http://own.test"), "a.io", "http://own.test"),
        (Egress("http://own.test"), "127.0.0.1", "http://own.test"),
        (Egress("http://own.test"), "c.io", None),
        (Egress("http://own.test", ()), "c.io", "http://own.test"),
        (Egress("http://own.test", ("a.io",)), "a.io", None),
        (Egress(None, ("a.io",)), "a.io", None),
        (Egress(None, ("a.io",)), "c.io", PROXY),
        (Egress(None, ("*",)), "c.io", None),
    ],
)
def test_the_configuration_stands_above_the_environment(egress: Egress, host: str, way: str | None) -> None:
    assert way_out(egress, ENVIRON | {"NO_PROXY": "c.io"}, "https", host, 443) == way


@pytest.mark.parametrize(
    "written", ["socks5://me:hunter2@a.io", "http://", "http://a.io:hunter2", "http://[::1", "http://a.io:0"]
)
def test_a_proxy_that_cannot_be_used_is_told_without_its_url(written: str) -> None:
    with pytest.raises(EgressInvalid, match="HTTPS_PROXY") as caught:
        way_out(Egress(), {"https_proxy": written}, "https", "a.io", 443)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "entry", ["*", "a.io", ".a.io", "*.a.io:80", "10.0.0.0/8", "fd00::/8", "::1", "[::1]:80", "127.0.0.1", "a_b.io."]
)
def test_good_exceptions(entry: str) -> None:
    assert parse_exception(entry) == entry


@pytest.mark.parametrize("entry", ["", "10.0.0.0/33", "https://a.io", "a.io/x", "a.*.io", "a b", "a.io:x", ".", "é.io"])
def test_bad_exceptions(entry: str) -> None:
    with pytest.raises(ValueError, match="write"):
        parse_exception(entry)
