"""Durations, sizes and free space survive being written and read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.quantities import (
    format_duration,
    format_free_space,
    format_size,
    parse_duration,
    parse_free_space,
    parse_size,
)
from proxy.core.budget import FreeSpaceRule


@given(st.integers(0, 3650 * 86_400_000))
def test_a_duration_survives(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@given(st.integers(0, 2**63 - 1))
def test_a_size_survives(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(0, 99_999), st.integers(0, 2**63 - 1))
def test_free_space_survives(thousandths: int, size: int) -> None:
    space = FreeSpaceRule(size, thousandths / 1000)
    assert parse_free_space(format_free_space(space)) == space


@given(st.text())
def test_any_other_text_is_refused_and_never_crashes(text: str) -> None:
    for parse in (parse_duration, parse_size, parse_free_space):
        try:
            parse(text)
        except ValueError as refused:
            assert "write" in str(refused) or "at most" in str(refused)


@pytest.mark.parametrize(
    ("written", "seconds"), [("500ms", 0.5), ("30s", 30), ("5m", 300), ("12h", 43200), ("7d", 604800), (0, 0), ("0", 0)]
)
def test_durations(written: object, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    ("written", "size"),
    [("512MiB", 512 * 1024**2), ("1.5GB", 1_500_000_000), ("1 kB", 1000), (7, 7), ("7", 7), ("7B", 7), ("0.3KiB", 307)],
)
def test_sizes(written: object, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize("written", ["", "5", "5 s", "s", "1.5h", "1h30m", "٣s", "1s\n", True, None, [], 1.0])
def test_what_is_no_duration(written: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(written)


@pytest.mark.parametrize("written", ["", "5G", "5gib", "1.5", "-1B", "٣B", "1B\n", True, None, 1.5])
def test_what_is_no_size(written: object) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(written)


def test_free_space_is_the_larger_of_a_share_and_a_size() -> None:
    space = parse_free_space("max(5%, 5GiB)")
    gib = 1024**3
    assert space.floor(20 * gib) == 5 * gib
    assert space.floor(1000 * gib) == 50 * gib
    assert parse_free_space("10%").floor(101) == 11
