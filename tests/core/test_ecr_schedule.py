import math

import pytest

from proxy.core.ecr_schedule import (
    AGAIN,
    LONGEST_LIFE,
    SHORTEST_LIFE,
    EcrToken,
    may_drop,
    may_renew,
    renewal_time,
    token_lifetime,
)

HOUR = 3600.0


@pytest.mark.parametrize(
    ("expires_at", "lifetime"),
    [
        (1_000_000 + 12 * HOUR, 12 * HOUR),
        (1_000_000 + 2 * HOUR, 2 * HOUR),
        (1_000_000 + 900 * HOUR, LONGEST_LIFE),
        (1_000_000 + 3, SHORTEST_LIFE),
        (1_000_000, LONGEST_LIFE),
        (1_000_000 - 13 * HOUR, LONGEST_LIFE),
        (0, LONGEST_LIFE),
    ],
)
def test_a_life_is_measured_from_the_answer_and_kept_within_what_is_documented(
    expires_at: float, lifetime: float
) -> None:
    assert token_lifetime(expires_at, answered_at=1_000_000) == lifetime


def test_a_token_is_renewed_about_half_way() -> None:
    token = EcrToken("secret", received_at=100.0, lifetime=10 * HOUR)
    assert renewal_time(token, jitter=0.5) == 100.0 + 5 * HOUR
    assert renewal_time(token, jitter=0.0) == 100.0 + 4 * HOUR
    assert renewal_time(token, jitter=1.0) == pytest.approx(100.0 + 6 * HOUR)


def test_a_short_life_makes_no_loop() -> None:
    assert renewal_time(EcrToken("secret", 0.0, SHORTEST_LIFE), jitter=0.0) == 60.0


def test_failures_are_spaced_from_a_quarter_second_to_a_minute() -> None:
    assert [AGAIN.pause(failures) for failures in (0, 1, 2, 7, 8, 5000)] == [0.25, 0.5, 1, 32, 60, 60]
    assert AGAIN.pause(8, chance=1.0) == 48


def test_a_token_of_this_minute_is_not_to_blame() -> None:
    token = EcrToken("secret", 1000.0, LONGEST_LIFE)
    assert not may_renew(token, 1059.9)
    assert may_renew(token, 1060.0)


def test_unknown_tokens_are_given_up_once_a_minute() -> None:
    assert may_drop(-math.inf, 0.0)
    assert not may_drop(1000.0, 1059.9)
    assert may_drop(1000.0, 1060.0)


def test_a_token_ends_at_its_expiry_and_does_not_show_itself() -> None:
    token = EcrToken("c2VjcmV0", 0.0, 100.0)
    assert token.usable(99.9)
    assert not token.usable(100.0)
    assert "c2VjcmV0" not in repr(token) + str(token)
