"""Forms that others write: host and port, times."""

import pytest

from proxy.core.authorities import Authority, format_authority, parse_authority
from proxy.core.budget import FreeSpaceRule
from proxy.core.moments import parse_iso, parse_moment


@pytest.mark.parametrize(
    ("written", "host", "port"),
    [
        ("a.io", "a.io", None),
        ("a.io:443", "a.io", 443),
        ("10.0.0.1:80", "10.0.0.1", 80),
        ("[::1]:5000", "::1", 5000),
        ("[fd00::1]", "fd00::1", None),
        ("bücher.example:8443", "bücher.example", 8443),
    ],
)
def test_a_host_and_its_port_survive(written: str, host: str, port: int | None) -> None:
    assert parse_authority(written) == Authority(host, port)
    assert format_authority(host, port) == str(parse_authority(written)) == written


@pytest.mark.parametrize(
    "written",
    ["", ":80", "a:", "a:b", "::1", "::1:80", "[::1", "[1:2]:80", "a:65536", "a/b", "me@a", "a b"],
)
def test_what_is_no_host_and_port(written: str) -> None:
    with pytest.raises(ValueError, match=r"write|not an IPv6|at most"):
        parse_authority(written)


def test_a_time_has_a_zone_and_a_number_is_one_only_where_numbers_are_meant() -> None:
    assert parse_iso("1970-01-01T01:00:00+01:00") == parse_moment("1970-01-01T00:00:00Z") == 0
    assert parse_iso("1970-01-01") is parse_iso("12") is parse_moment("nan") is None
    assert parse_moment("12") == 12


def test_free_space_is_rounded_once_and_upwards() -> None:
    assert FreeSpaceRule(0, 10.0).floor(101) == 11
    assert FreeSpaceRule(0, 5.0).floor(1000 * 1024**3) == 50 * 1024**3
    assert FreeSpaceRule(7, 10.0).floor(10) == 7
