"""How many transfers, and which part each brings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.transfer_plan import MIB, Parts, Tempo, TransferRules

RULES = TransferRules()
GIB = 1024 * MIB
Window = tuple[float, int, float]  # MB/s, bytes still to come, share of the time that was spent waiting

SLOW_UPSTREAM = 0.95
BUSY_MACHINE = 0.4


@pytest.mark.parametrize(
    ("windows", "wanted"),
    [
        pytest.param([(80, GIB, SLOW_UPSTREAM)], [2], id="a slow connection gets company"),
        pytest.param([(80, GIB, 0.95), (160, GIB, 0.95), (320, GIB, 0.95)], [2, 4, 4], id="as long as it helps"),
        pytest.param([(125, GIB, 0.95), (125, GIB, 0.5), (125, GIB, 0.5)], [2, 1, 1], id="what does not help goes"),
        pytest.param([(80, GIB, 0.9), (160, GIB, 0.9), (170, GIB, 0.9)], [2, 4, 2], id="back to what did help"),
        pytest.param([(80, GIB, BUSY_MACHINE), (80, GIB, SLOW_UPSTREAM)], [1, 2], id="not while we are the slow ones"),
        pytest.param([(80, 63 * MIB, SLOW_UPSTREAM), (80, GIB, 0.95)], [1, 1], id="not for a small rest"),
        pytest.param([(900, 400 * MIB, SLOW_UPSTREAM)], [1], id="not for a rest that is soon there"),
        pytest.param([(0, GIB, 1.0)], [2], id="for a connection that stands still"),
    ],
)
def test_how_many_transfers_are_wanted(windows: list[Window], wanted: list[int]) -> None:
    tempo = Tempo(RULES)
    assert [tempo.measured(rate * 1e6, rest, waiting) for rate, rest, waiting in windows] == wanted


@pytest.mark.parametrize(("most", "wanted"), [(1, [1, 1, 1]), (2, [2, 2, 2]), (3, [2, 3, 3]), (8, [2, 4, 8])])
def test_never_more_than_the_most(most: int, wanted: list[int]) -> None:
    tempo = Tempo(RULES._replace(most=most))
    assert [tempo.measured(80e6 * 2**step, 10 * GIB, 0.95) for step in range(3)] == wanted


def test_a_refusal_is_remembered() -> None:
    tempo = Tempo(RULES)
    assert tempo.measured(80e6, GIB, 0.95) == 2
    tempo.refused()
    assert (tempo.wanted, tempo.settled) == (1, True)
    assert tempo.measured(80e6, GIB, 0.95) == 1


def test_transfers_that_are_lost_do_not_come_back() -> None:
    tempo = Tempo(RULES)
    tempo.measured(80e6, GIB, 0.95)
    tempo.measured(160e6, GIB, 0.95)
    tempo.at_most(3)
    assert tempo.measured(500e6, GIB, 0.95) == 3


@pytest.mark.parametrize(
    ("left", "transfers", "length"),
    [
        pytest.param(1024 * MIB, 1, 1024 * MIB, id="one alone brings everything"),
        pytest.param(1024 * MIB, 4, 32 * MIB, id="parts are bounded"),
        pytest.param(128 * MIB, 4, 16 * MIB, id="and shrink towards the end"),
        pytest.param(40 * MIB, 4, 8 * MIB, id="down to the least"),
        pytest.param(11 * MIB, 4, 11 * MIB, id="no splinter is left over"),
        pytest.param(5 * MIB, 4, 5 * MIB, id="the last"),
    ],
)
def test_how_large_a_part_is(left: int, transfers: int, length: int) -> None:
    assert Parts(7, 7 + left, RULES).take(transfers) == (7, 7 + length)


def test_a_part_given_back_is_the_next_one() -> None:
    parts = Parts(0, GIB, RULES)
    first, second = parts.take(4), parts.take(4)
    assert first is not None
    assert second is not None
    parts.give_back(second)
    parts.give_back(first)
    assert [parts.take(4), parts.take(1)] == [first, second]


@given(
    start=st.integers(0, 300),
    length=st.integers(0, 3000),
    steps=st.lists(st.tuples(st.integers(1, 8), st.booleans())),
)
def test_every_byte_is_handed_out_once(start: int, length: int, steps: list[tuple[int, bool]]) -> None:
    """Whatever the number of transfers does meanwhile, and whoever gives a part back."""
    parts = Parts(start, start + length, TransferRules(least_part=8, largest_part=64))
    taken = []
    for transfers, keep in steps:
        part = parts.take(transfers)
        if part is not None and keep:
            taken.append(part)
        elif part is not None:
            parts.give_back(part)
    while (part := parts.take(2)) is not None:
        taken.append(part)
    position = start
    for begin, end in sorted(taken):
        assert begin == position < end
        position = end
    assert position == start + length
