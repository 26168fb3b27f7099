"""Forms that others write: host and port, times, JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.authorities import Authority, format_authority, parse_authority
from proxy.core.budget import FreeSpaceRule
from proxy.core.foreign_json import DEEPEST, JsonRefused, parse_json, parse_json_object
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


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"a": 1, "a": 2}', "a key stands twice"),
        (b'{"a": {"b": 1, "b": 1}}', "a key stands twice"),
        (b"NaN", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"\xff", "not UTF-8"),
        (b"{", "Expecting"),
        (b"", "Expecting"),
        (b"9" * 5000, "integer string conversion"),
        (b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), "nested too deeply"),
        (b'{"a":' * (DEEPEST + 1) + b"1" + b"}" * (DEEPEST + 1), "nested too deeply"),
        (b"[" * 100_000, "nested too deeply"),
        (b" " * 200_000 + b"{}", "larger than 200000 bytes"),
    ],
)
def test_json_that_parsers_differ_on_is_refused(content: bytes, sentence: str) -> None:
    with pytest.raises(JsonRefused, match=sentence):
        parse_json(content, 200_000)


def test_json_as_deep_as_allowed_is_read() -> None:
    value = parse_json(b"[" * DEEPEST + b"]" * DEEPEST, None)
    for _ in range(DEEPEST - 1):
        (value,) = value
    assert value == []


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda each: st.lists(each, max_size=3)))
def test_other_json_is_read_as_it_is(value: object) -> None:
    assert parse_json(json.dumps(value).encode(), None) == value


def test_an_object_is_an_object() -> None:
    assert parse_json_object('{"a": [1]}', 100) == {"a": [1]}
    with pytest.raises(JsonRefused, match="not a JSON object"):
        parse_json_object(b"[]", 100)


def test_a_time_has_a_zone_and_a_number_is_one_only_where_numbers_are_meant() -> None:
    assert parse_iso("1970-01-01T01:00:00+01:00") == parse_moment("1970-01-01T00:00:00Z") == 0
    assert parse_iso("1970-01-01") is parse_iso("12") is parse_moment("nan") is None
    assert parse_moment("12") == 12


def test_free_space_is_rounded_once_and_upwards() -> None:
    assert FreeSpaceRule(0, 10.0).floor(101) == 11
    assert FreeSpaceRule(0, 5.0).floor(1000 * 1024**3) == 50 * 1024**3
    assert FreeSpaceRule(7, 10.0).floor(10) == 7
