"""JSON that others wrote: what is read, what is refused, and that no step of it is long."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.foreign_json import (
    DEEPEST,
    LONGEST_NUMBER,
    LONGEST_STRING,
    Bounds,
    JsonRefused,
    parse_json,
    parse_json_object,
    read_json,
)

BOUNDS = Bounds(4 << 20, 100_000)
WIDE = Bounds(64 << 20, 10_000_000)
MOST_IN_A_STEP = 500  # values


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"a": 1, "a": 2}', "a key stands twice"),
        (b'{"a": {"b": 1, "b": 1}}', "a key stands twice"),
        (b"NaN", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"\xff", "not UTF-8"),
        (b'"\xc3', "not UTF-8"),
        (b"{", "Expecting"),
        (b"", "Expecting"),
        (b"[1,]", "Expecting value"),
        (b'{"a" 1}', "Expecting ':'"),
        (b"{} {}", "Extra data"),
        (b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), "nested too deeply"),
        (b'{"a":' * (DEEPEST + 1) + b"1" + b"}" * (DEEPEST + 1), "nested too deeply"),
        (b"9" * (LONGEST_NUMBER + 1), "a number of more than"),
        (b"[0." + b"1" * LONGEST_NUMBER + b"]", "a number of more than"),
        (b'["%b"]' % (b"a" * (LONGEST_STRING + 1)), "a string of more than"),
        (b"[%b1]" % (b" " * (2 * LONGEST_STRING)), "blanks in a row"),
    ],
)
def test_json_that_parsers_differ_on_or_choke_on_is_refused(content: bytes, sentence: str) -> None:
    with pytest.raises(JsonRefused, match=sentence):
        parse_json(content, BOUNDS)


FULL = 4 << 20
BOMBS = {
    "opening brackets": b"[" * FULL,
    "members within members": b'{"a":' * (FULL // 5),
    "objects": b"[" + b"{}," * (FULL // 3 - 2) + b"{}]",
    "objects of one member": b"[" + b'{"a":1},' * (FULL // 8 - 2) + b"{}]",
    "arrays": b"[" + b"[]," * (FULL // 3 - 2) + b"[]]",
    "floats": b"[" + b"1e9," * (FULL // 4 - 2) + b"1]",
    "members": b'{"a":1' + b"".join(b',"%d":1' % number for number in range(360_000)) + b"}",
    "long numbers": b"[" + (b"9" * 4300 + b",") * 900 + b"1]",
    "one number": b"9" * FULL,
    "one string": b'"' + b"a" * (FULL - 2) + b'"',
    "one string of escapes": b'"' + b"\\n" * (FULL // 2 - 1) + b'"',
    "escaped quotation marks": b'["' + b'\\"' * (FULL // 2 - 4) + b'"]',
    "blanks": b" " * (FULL - 2) + b"{}",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_is_refused_in_short_steps(bomb: bytes) -> None:
    assert len(bomb) <= FULL
    reading = read_json(bomb, BOUNDS)
    with pytest.raises(JsonRefused, match=r"more than|nested"):
        for _ in range(BOUNDS.values // MOST_IN_A_STEP + FULL // (64 << 10) + 2):
            next(reading)
        pytest.fail("its steps are too many")


LEGAL = {
    "as many values as allowed": b"[" + b"{}," * (BOUNDS.values - 2) + b"{}]",
    "members": b"{" + b",".join(b'"%d":1' % number for number in range(BOUNDS.values - 1)) + b"}",
    "long strings": b'["' + b'","'.join([b"\\n" * (LONGEST_STRING // 2)] * 7) + b'"]',
    "characters of several bytes": json.dumps(
        ["a", "\U0001f600" * (LONGEST_STRING // 2)] * 4, ensure_ascii=False
    ).encode(),
    "blanks": b"[" + b",".join([b" " * (LONGEST_STRING - 9) + b"1"] * 7) + b"]",
    "as deep as allowed": b"[" * DEEPEST + b"]" * DEEPEST,
}


@pytest.mark.parametrize("content", LEGAL.values(), ids=LEGAL.keys())
def test_what_is_within_the_bounds_is_read_as_it_is(content: bytes) -> None:
    assert parse_json(content, WIDE._replace(values=BOUNDS.values)) == json.loads(content)


def test_a_step_reads_a_bounded_part() -> None:
    """Counted by the objects that were made."""
    made: list[int] = [0]

    def make() -> dict[str, Any]:
        made[-1] += 1
        return {}

    for _ in read_json(LEGAL["as many values as allowed"], BOUNDS, make):
        made.append(0)
    assert sum(made) == BOUNDS.values - 1
    assert max(made) <= MOST_IN_A_STEP + 1  # the one that it ends with


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(), each, max_size=4))


def _parts(value: object) -> Iterator[object]:
    yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _parts(part)


def _depth(value: object) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if parts is None else 1 + max(map(_depth, parts), default=0)


@settings(deadline=None)
@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_the_bounds_are_met_exactly(value: object, ascii_only: bool, indent: int | None) -> None:
    content = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    values = sum(1 for _ in _parts(value))
    exact = Bounds(len(content), values)
    assert parse_json(content, exact) == value
    for beyond in (exact._replace(size=exact.size - 1), exact._replace(values=exact.values - 1)):
        with pytest.raises(JsonRefused, match="more than"):
            parse_json(content, beyond)


@settings(deadline=None)
@given(VALUES, st.integers(DEEPEST - 4, DEEPEST + 4))
def test_the_depth_is_met_exactly(value: object, around: int) -> None:
    content = b"[" * around + json.dumps(value).encode() + b"]" * around
    if around + _depth(value) <= DEEPEST:
        assert parse_json(content, BOUNDS) == json.loads(content)
    else:
        with pytest.raises(JsonRefused, match="nested too deeply"):
            parse_json(content, BOUNDS)


@settings(deadline=None)
@given(st.text(alphabet='[]{}",:\\ \nu019.-eEtrufalsn\u00e9', max_size=30))
def test_what_the_standard_library_refuses_is_refused_and_nothing_else_but_what_is_said(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(JsonRefused):
            parse_json(text, BOUNDS)
        return
    try:
        assert parse_json(text, BOUNDS) == expected
    except JsonRefused as refused:
        assert str(refused) == "a key stands twice"


def test_an_object_is_an_object() -> None:
    assert parse_json_object('{"a": [1]}', BOUNDS) == {"a": [1]}
    with pytest.raises(JsonRefused, match="not a JSON object"):
        parse_json_object(b"[]", BOUNDS)
