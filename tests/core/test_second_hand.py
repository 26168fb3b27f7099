"""What a cache upstream says of its answer is understood where it is one of ours, and never repeated unchecked."""

import pytest

from proxy.core.freshness import Standing, TagRules, asked_at, standing
from proxy.core.second_hand import SecondHand, age_of, detail_of, quota, second_hand

STALE = "entrepot; hit; detail=stale"
WHY = "served stale: upstream does not answer"
PINNED = "pinned here, and gone upstream"


@pytest.mark.parametrize(
    ("lines", "detail"),
    [
        ([STALE], "stale"),
        (["entrepot; detail=offline"], "offline"),
        (['entrepot;hit; detail="offline" ; ttl=1'], "offline"),
        (["entrepot; hit; detail=stale, entrepot; fwd=stale"], None),
        (["entrepot; fwd=miss; stored", STALE], "stale"),
        (["Cloudflare; hit; detail=stale"], None),
        (["entrepotx; hit; detail=stale, my-entrepot; detail=offline"], None),
        (["entrepot; hit; detail=staleness"], None),
        (["entrepot"], None),
        ([], None),
    ],
)
def test_only_caches_of_our_kind_are_understood(lines: list[str], detail: str | None) -> None:
    assert detail_of(lines) == detail


@pytest.mark.parametrize(
    ("age", "warnings", "told"),
    [
        ("12", [f'299 - "{WHY}"'], SecondHand(12.0, WHY)),
        (None, ['199 x "other"', f'299 central "{PINNED}"'], SecondHand(None, PINNED)),
        ("-1", ['299 - "two\\" words"'], SecondHand(None, WHY)),
        ("9" * 30, ['299 - "' + "x" * 300 + '"'], SecondHand(None, WHY)),
        ("\u0661", [], SecondHand(None, WHY)),
    ],
)  # fmt: skip
def test_age_and_warning_are_taken_where_they_have_their_form(
    age: str | None, warnings: list[str], told: SecondHand
) -> None:
    assert second_hand([STALE], age, warnings) == told
    assert second_hand(["entrepot; hit"], age, warnings) is None


def test_a_tag_is_as_old_here_as_it_is_there() -> None:
    rules, now = TagRules(ttl=60.0), 1.7e9
    assert standing(rules, asked_at(SecondHand(30.0, WHY), now, rules), now) is Standing.FRESH
    assert standing(rules, asked_at(SecondHand(61.0, WHY), now, rules), now) is Standing.STALE
    assert standing(rules, asked_at(SecondHand(None, WHY), now, rules), now) is Standing.STALE


def test_a_quota_goes_on_in_its_own_form_only() -> None:
    assert quota("100;w=21600", "76") == (("RateLimit-Limit", "100;w=21600"), ("RateLimit-Remaining", "76"))
    assert quota("100\r\nX: y", None) == ()
    assert quota("a lot", "-1") == ()


@pytest.mark.parametrize(
    ("status", "age", "seconds"),
    [
        (["entrepot; hit"], "50", 50.0),
        (["entrepot; fwd=miss; stored"], "50", 50.0),
        (["entrepot; hit"], None, 0.0),
        (["entrepot; hit"], "-1", 0.0),
        (["varnish; hit"], "50", 0.0),
        ([], "50", 0.0),
    ],
)
def test_how_old_an_answer_is_says_a_cache_of_our_kind(status: list[str], age: str | None, seconds: float) -> None:
    assert age_of(status, age) == seconds
