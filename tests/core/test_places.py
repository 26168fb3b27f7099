"""Who may take a place: no source takes them all, whatever addresses it has."""

from collections import Counter

import pytest

from proxy.core.doors import PlaceRules, network_of

RULES = PlaceRules(4096, 256)


def crowded(sources: int, rules: PlaceRules = RULES) -> Counter[int]:
    """What each source holds once all of them have asked for as much as they can get."""
    held: Counter[int] = Counter()
    asking = set(range(sources))
    while asking:
        for source in list(asking):
            if held[source] < rules.share(held.total()):
                held[source] += 1
            else:
                asking.discard(source)
    return held


@pytest.mark.parametrize("sources", [1, 17, 64, 200, 1000])
def test_however_many_take_all_they_can_there_is_a_place_for_one_more(sources: int) -> None:
    held = crowded(sources)
    assert held.total() < RULES.most
    assert RULES.share(held.total()) > 0


def test_one_source_has_its_full_share_as_long_as_half_is_free() -> None:
    assert crowded(1) == {0: 256}
    assert crowded(8) == dict.fromkeys(range(8), 256)


def test_a_load_balancer_that_may_have_all_leaves_a_third() -> None:
    assert crowded(1, PlaceRules(4096, 4096))[0] == pytest.approx(4096 * 2 / 3, abs=2)


@pytest.mark.parametrize("most", [1, 2, 3, 10])
def test_few_places_can_all_be_taken(most: int) -> None:
    rules = PlaceRules(most, 256)
    assert [rules.share(taken) > 0 for taken in range(most + 1)] == [True] * most + [False]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::1", "::/64"),
        ("", ""),
        ("no:address", "no:address"),
    ],
)
def test_places_are_counted_by_network(address: str, network: str) -> None:
    assert network_of(address) == network
