"""Challenges as registries send them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream.challenge import HEADER_LIMIT, Challenge, parse_challenges

BEARER = {"realm": "https://auth.test/token", "service": "reg"}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(
            ['Bearer realm="https://auth.test/token",service="reg"'], [Challenge("bearer", BEARER)], id="plain"
        ),
        pytest.param(
            ['BEARER Realm = "https://auth.test/token" ,  SERVICE=reg'],
            [Challenge("bearer", BEARER)],
            id="any case, white space round = and comma, unquoted value",
        ),
        pytest.param(
            ['Bearer realm="r",scope="repository:a/b:pull,push repository:c:pull"'],
            [Challenge("bearer", {"realm": "r", "scope": "repository:a/b:pull,push repository:c:pull"})],
            id="commas and spaces inside the quoted scope",
        ),
        pytest.param(
            [r'Bearer realm="a\"b\\c"'],
            [Challenge("bearer", {"realm": r"a\"b\\c".replace('\\"', '"').replace("\\\\", "\\")})],
            id="escapes",
        ),
        pytest.param(
            ['Basic realm="x", Bearer realm="r"'],
            [Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "r"})],
            id="two challenges in one line",
        ),
        pytest.param(
            ['Basic realm="x"', 'Bearer realm="r"'],
            [Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "r"})],
            id="two lines",
        ),
        pytest.param(["Basic"], [Challenge("basic", {})], id="a scheme alone"),
        pytest.param(
            ['Negotiate, Negotiate YWJj==, Bearer realm="r"'],
            [Challenge("negotiate", {}), Challenge("negotiate", {}), Challenge("bearer", {"realm": "r"})],
            id="a token68 is no parameter",
        ),
        pytest.param(
            ['Bearer realm="https://a.test/t?x=1,2&y=3",error="insufficient_scope",odd="?"'],
            [Challenge("bearer", {"realm": "https://a.test/t?x=1,2&y=3", "error": "insufficient_scope", "odd": "?"})],
            id="a realm with its own query, and parameters that nobody knows",
        ),
        pytest.param(
            ['Bearer realm="r",realm="s"'], [Challenge("bearer", {"realm": "r"})], id="the first of two counts"
        ),
        pytest.param([',, Bearer realm="r",,'], [Challenge("bearer", {"realm": "r"})], id="empty elements"),
        pytest.param(['Bearer realm="open'], [Challenge("bearer", {})], id="a quote that never ends"),
        pytest.param(['realm="r"'], [], id="a parameter without a scheme"),
        pytest.param([""], [], id="nothing"),
        pytest.param([";;;"], [], id="no token"),
    ],
)
def test_challenges_are_read_as_they_are_sent(lines: list[str], expected: list[Challenge]) -> None:
    assert list(parse_challenges(lines)) == expected


def test_what_stands_behind_the_limit_is_not_read() -> None:
    filler = "x" * HEADER_LIMIT
    assert parse_challenges([f'Bearer realm="{filler}"']) == (Challenge("bearer", {}),)
    assert parse_challenges([filler, 'Bearer realm="r"'])[-1].scheme == filler


@given(st.lists(st.text(max_size=200), max_size=4))
def test_no_header_breaks_the_parser(lines: list[str]) -> None:
    for challenge in parse_challenges(lines):
        assert challenge.scheme == challenge.scheme.lower()


_TOKENS = st.from_regex(r"[a-z][a-z0-9_-]{0,10}", fullmatch=True)
_PARAMETERS = st.dictionaries(_TOKENS, st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))


@given(st.lists(st.tuples(_TOKENS, _PARAMETERS), max_size=4))
def test_what_is_written_by_the_rules_is_read_back(challenges: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    line = ", ".join(
        f"{scheme} {', '.join(f'{name}={quoted(value)}' for name, value in parameters.items())}".rstrip(" ")
        for scheme, parameters in challenges
    )
    assert parse_challenges([line]) == tuple(Challenge(*challenge) for challenge in challenges)


@pytest.mark.parametrize("piece", ['a="', "\\", "a,", "a a ", '"\\', "a=a ", "=", "aaaa"])
def test_a_hostile_header_takes_linear_time(piece: str) -> None:
    started = time.process_time()
    for _ in range(20):
        parse_challenges(["Bearer " + piece * HEADER_LIMIT])
    assert time.process_time() - started < 2
