"""A memory that forgets the oldest, one by one."""

from proxy.front.requests import Recent


def test_the_oldest_are_forgotten_one_by_one_and_the_bound_holds() -> None:
    recent: Recent[int, str] = Recent(100)
    for number in range(1000):
        forgotten = recent.put(number, str(number), 10)
        assert forgotten == ([str(number - 10)] if number >= 10 else [])
        assert recent.total <= 100
    assert len(recent) == 10
    assert (recent.get(989), recent.get(990)) == (None, "990")


def test_what_is_put_anew_counts_once_and_is_the_youngest() -> None:
    recent: Recent[str, int] = Recent(30)
    for name in "abc":
        recent.put(name, 0, 10)
    assert recent.put("a", 1, 15) == [0, 0]
    assert (recent.get("a"), recent.get("b"), recent.get("c")) == (1, None, 0)
    assert recent.total == 25


def test_what_is_larger_than_the_memory_is_not_kept() -> None:
    recent: Recent[str, int] = Recent(30)
    assert recent.put("a", 1, 31) == [1]
    assert (len(recent), recent.total) == (0, 0)
