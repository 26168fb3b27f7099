"""Ranges: RFC 9110 section 14."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import RangeUnsatisfiable, SeveralRanges
from proxy.core.ranges import AskedRange, parse_range
from proxy.core.spans import Span

SIZE = 1000


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", Span(0, 1)),
        ("bytes=0-", Span(0, 1000)),
        ("bytes=500-", Span(500, 1000)),
        ("bytes=500-599", Span(500, 600)),
        ("bytes=999-5000", Span(999, 1000)),
        ("bytes=-1", Span(999, 1000)),
        ("bytes=-5000", Span(0, 1000)),
        ("Bytes=1-2", Span(1, 3)),
        (f"bytes=0-{2**64}", Span(0, 1000)),
    ],
)
def test_a_range_becomes_the_span_to_send(header: str, span: Span) -> None:
    asked = parse_range(header)
    assert asked is not None
    assert asked.within(SIZE) == span


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-1",
        "lines=1-2",
        "bytes=1-2x",
        "bytes=٣-٤",
        "bytes=--1",
    ],
)
def test_what_is_no_range_is_ignored(header: str | None) -> None:
    assert parse_range(header) is None


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=1000-1001", "bytes=-0", f"bytes={2**64}-"])
def test_a_range_behind_the_end_is_refused_with_the_size(header: str) -> None:
    asked = parse_range(header)
    assert asked is not None
    with pytest.raises(RangeUnsatisfiable) as refused:
        asked.within(SIZE)
    assert refused.value.size == SIZE


@pytest.mark.parametrize("header", ["bytes=0-1,5-9", "bytes=0-1, -5", "bytes=,"])
def test_several_ranges_are_refused(header: str) -> None:
    with pytest.raises(SeveralRanges):
        parse_range(header)


@given(st.text(alphabet="bytes=0123456789-, \tx", max_size=40), st.integers(0, 2**40))
def test_whatever_is_asked_the_span_lies_inside(header: str, size: int) -> None:
    try:
        asked = parse_range(header)
        if asked is None:
            return
        span = asked.within(size)
    except (SeveralRanges, RangeUnsatisfiable):
        return
    assert 0 <= span.start < span.end <= size


@given(st.integers(1, 10**6), st.data())
def test_a_suffix_and_its_first_last_form_agree(size: int, data: st.DataObject) -> None:
    length = data.draw(st.integers(1, size))
    assert AskedRange(None, length).within(size) == AskedRange(size - length, size - 1).within(size)
