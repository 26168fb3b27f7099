"""Who gets the next place."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.fair_shares import FairShares


def taken(shares: FairShares[str], name: str) -> int:
    """How many it could have, which it then has."""
    count = 0
    while shares.admits(name):
        shares.take(name)
        count += 1
    return count


@pytest.mark.parametrize("most", [0, 1, 2, 8, 64, 512])
def test_one_alone_has_all_that_one_may_have_and_leaves_some_for_whoever_comes_new(most: int) -> None:
    shares: FairShares[str] = FairShares(most)
    assert taken(shares, "silent.test") == most
    assert shares.admits("new.test") == (most > 0)


def test_seven_who_want_all_leave_one_for_an_eighth() -> None:
    shares: FairShares[str] = FairShares(64)
    assert [taken(shares, name) for name in "abcdefgh"] == [64, 32, 16, 8, 4, 2, 1, 1]


def test_the_next_is_who_holds_the_fewest_and_the_first_among_equals() -> None:
    shares: FairShares[str] = FairShares(2)
    for name in ("a", "a", "b"):
        shares.take(name)
    assert shares.next(["a", "b", "c", "d"]) == "c"
    assert shares.next(["a", "b"]) is None
    assert shares.next([]) is None
    shares.take("c")
    assert shares.next(["d"]) is None
    shares.give_back("a")
    assert shares.next(["d"]) == "d"


@given(st.integers(0, 70), st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=300))
def test_no_more_are_held_than_there_are_and_all_come_back(most: int, steps: list[tuple[str, bool]]) -> None:
    shares: FairShares[str] = FairShares(most)
    held: Counter[str] = Counter()
    for name, takes in steps:
        if takes and shares.admits(name):
            shares.take(name)
            held[name] += 1
        elif not takes and held[name]:
            shares.give_back(name)
            held[name] -= 1
        assert held.total() + shares.free == 2 * most
    for name in held.elements():
        shares.give_back(name)
    assert shares.free == 2 * most
