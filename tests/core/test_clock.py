"""When the time of the clock is to be believed."""

import pytest

from proxy.core.clock import EARLIEST, JUMP, Doubt, doubt_of, doubt_under_way

NOW = EARLIEST + 1e7


@pytest.mark.parametrize(
    ("now", "known", "doubt"),
    [
        (NOW, None, Doubt.NONE),
        (86_400.0, None, Doubt.EARLY),
        (86_400.0, NOW, Doubt.EARLY),
        (NOW, NOW - JUMP, Doubt.NONE),
        (NOW, NOW + JUMP, Doubt.NONE),
        (NOW, NOW - JUMP - 1, Doubt.AHEAD),
        (NOW, NOW + JUMP + 1, Doubt.BACK),
    ],
)
def test_a_start_is_judged_by_what_was_known(now: float, known: float | None, doubt: Doubt) -> None:
    assert doubt_of(now, known) is doubt


def test_a_clock_that_is_set_while_the_process_runs_is_in_doubt_until_it_is_back() -> None:
    assert doubt_under_way(NOW, NOW + JUMP + 1, Doubt.NONE) is Doubt.STEPPED
    assert doubt_under_way(NOW, NOW + JUMP, Doubt.STEPPED) is Doubt.NONE
    assert doubt_under_way(NOW, NOW, Doubt.BACK) is Doubt.BACK
