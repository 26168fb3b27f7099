"""A table that strangers fill: bounded in bytes, by age and by use, fair among upstreams."""

import gc
import weakref

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import ManifestUnknown
from proxy.core.tables import ENTRY, BoundedTable, Tables, of_upstream, weight
from tests.cast import ManualClock


def test_bytes_of_keys_count_and_the_bound_holds() -> None:
    table: BoundedTable[str, None] = BoundedTable(1 << 20)
    for number in range(1000):
        table.put(f"{number}{'a' * 10_000}", None)
        assert table.total <= table.limit
    assert 50 < len(table) < 105


def test_what_is_used_stays_and_what_is_not_goes() -> None:
    table: BoundedTable[int, int] = BoundedTable(10 * (ENTRY + 64), weigh=lambda _: 0)
    for number in range(1000):
        table.put(number, number)
        assert table.get(0) == 0
    assert table.get(1) is None
    assert table.get(999) == 999


def test_what_has_lived_is_gone_and_takes_no_room() -> None:
    clock = ManualClock()
    table: BoundedTable[str, int] = BoundedTable(1 << 20, 60.0, clock)
    table.put("a", 1)
    clock.advance(59.0)
    assert "a" in table
    assert table.get("a") == 1
    clock.advance(1.0)
    assert "a" not in table
    assert table.get("a", 7) == 7
    assert table.total == 0
    table.put("b", 2)
    clock.advance(60.0)
    table.put("c", 3)
    assert [key for key, _ in table.items()] == ["c"]


def test_an_answer_of_none_is_an_answer() -> None:
    table: BoundedTable[str, int | None] = BoundedTable(1 << 20)
    table.put("a", None)
    assert (table.get("a", -1), table.get("b", -1)) == (None, -1)


def test_what_is_larger_than_the_table_displaces_nobody() -> None:
    table: BoundedTable[str, bytes] = BoundedTable(10_000)
    table.put("a", b"")
    assert table.put("b", bytes(20_000)) == [bytes(20_000)]
    assert "a" in table
    assert table.put("a", b"new") == [b""]


def test_what_strangers_name_under_a_pattern_leaves_the_others_their_room() -> None:
    tables = Tables(ManualClock(), lambda host: host if host == "named.test" else "*.wild.test")
    table = tables.table("answers", 1 << 20, upstream=of_upstream)
    for number in range(500):
        table.put(("named.test", number), number)
    known = len(table)
    for number in range(10_000):
        table.put((f"h{number}.wild.test", number), number)
    named = [key for key, _ in table.items() if key[0] == "named.test"]
    assert len(named) == known
    assert table.total <= table.limit
    assert tables.table("answers", 0) is table


def test_a_fault_that_is_kept_holds_no_frames() -> None:
    class Large:
        pass

    table: BoundedTable[str, Exception] = BoundedTable(1 << 20)

    def fails() -> weakref.ref[Large]:
        held = Large()
        try:
            raise ManifestUnknown("it is not there")
        except ManifestUnknown as fault:
            table.put("a", fault)
        return weakref.ref(held)

    alive = fails()
    gc.collect()
    assert alive() is None
    kept = table.get("a")
    assert (type(kept), str(kept)) == (ManifestUnknown, "it is not there")
    assert kept is not None
    assert kept.__traceback__ is None


def test_the_weight_of_a_value_is_that_of_all_it_holds() -> None:
    big = "x" * 100_000
    for thing in (big, [big], {"a": big}, {big: 1}, (1, (2, big)), ManifestUnknown(big)):
        assert weight(thing) > 100_000


@given(st.lists(st.tuples(st.sampled_from("pgo"), st.integers(0, 20), st.integers(0, 3000))))
def test_the_books_are_right_whatever_happens(steps: list[tuple[str, int, int]]) -> None:
    clock = ManualClock()
    table: BoundedTable[tuple[str, int], bytes] = BoundedTable(20_000, 5.0, clock, lambda key: key[0])
    for what, number, size in steps:
        key = (str(number % 3), number)
        match what:
            case "p":
                table.put(key, bytes(size))
            case "g":
                table.get(key)
            case "o":
                table.pop(key)
        clock.advance(1.0)
        sizes = [ENTRY + weight(key) + weight(value) for key, value in table.items()]
        assert table.total == sum(sizes) <= table.limit
