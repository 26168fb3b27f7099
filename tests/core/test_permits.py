"""How long a registry's yes to a credential carries."""

from proxy.core.permits import LOOK_AGAIN, confirmed, holds, kept

NOON = 1_700_000_000.0


def test_a_yes_carries_its_time_and_no_longer() -> None:
    permit = confirmed(NOON, 300.0)
    assert holds(permit, NOON)
    assert holds(permit, NOON + 299.0)
    assert not holds(permit, NOON + 300.0)
    assert not holds(None, NOON)


def test_a_yes_of_a_clock_that_was_wrong_carries_nothing() -> None:
    permit = confirmed(NOON, 300.0)
    assert not holds(permit, NOON - 1.0)
    assert kept(permit, NOON - 1.0, 3600.0) is None


def test_without_an_answer_a_yes_is_kept_up_to_an_end_that_is_counted_from_when_it_was_given() -> None:
    permit = confirmed(NOON, 300.0)
    left = kept(permit, NOON + 400.0, 3600.0)
    assert left is not None
    assert left.confirmed_at == NOON
    assert left.until == NOON + 400.0 + LOOK_AGAIN
    last = kept(left, NOON + 3599.0, 3600.0)
    assert last is not None
    assert last.until == NOON + 3600.0
    assert kept(last, NOON + 3600.0, 3600.0) is None
    assert kept(None, NOON, 3600.0) is None
