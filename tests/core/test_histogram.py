"""Distributions: what is counted where."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.histogram import Histogram

seconds = st.floats(0, 1e6)


def test_a_bound_includes_what_equals_it() -> None:
    seen = Histogram((1.0, 2.0))
    for value in (1.0, 1.5, 2.0, 2.5):
        seen.observe(value)
    assert seen.cumulative() == [("1.0", 1.0), ("2.0", 3.0), ("+Inf", 4.0)]
    assert (seen.count, seen.total) == (4, 7.0)


@given(st.lists(seconds), st.lists(seconds))
def test_parts_make_what_one_would_have_seen(first: list[float], second: list[float]) -> None:
    one, other, whole = Histogram(), Histogram(), Histogram()
    for part, values in ((one, first), (other, second)):
        for value in values:
            part.observe(value)
            whole.observe(value)
    one.include(other)
    assert one.cumulative() == whole.cumulative()
    assert abs(one.total - whole.total) <= 1e-9 * max(1.0, whole.total)
    counts = [count for _, count in whole.cumulative()]
    assert counts == sorted(counts)
    assert counts[-1] == len(first) + len(second)
