"""Who is behind a request is known by pseudonyms, and nobody is asked to wait for himself."""

import pytest

from proxy.core.errors import LoopDetected
from proxy.core.via import MOST_HOPS, hops_of, pseudonym, require_no_loop, via

OWN, ONE, OTHER = (pseudonym(bytes([number]) * 8) for number in range(3))


def test_what_is_written_is_read() -> None:
    assert hops_of(via((ONE, OTHER))) == (ONE, OTHER)
    assert hops_of("") == ()


@pytest.mark.parametrize(
    ("written", "hops"),
    [
        (f"1.1 squid.example:3128 (squid/6), 1.1 {ONE}", (ONE,)),
        (f"HTTP/1.1 {ONE} (a cache),1.0 {OTHER}", (ONE, OTHER)),
        (f"1.1 {ONE.upper()}", (ONE,)),
        (f"1.1 {ONE}0, 1.1 x{OTHER}, 2 {ONE}", ()),
        ("1.1 entrepot, 1.1 entrepot-zzzz", ()),
        (", ,,", ()),
    ],
)
def test_only_our_like_count(written: str, hops: tuple[str, ...]) -> None:
    assert hops_of(written) == hops


@pytest.mark.parametrize(
    ("hops", "words"),
    [
        ((OWN,), "this cache asks itself"),
        ((ONE, OWN, OTHER), "2 caches ask each other in a circle"),
    ],
)
def test_a_circle_is_refused(hops: tuple[str, ...], words: str) -> None:
    with pytest.raises(LoopDetected, match=words):
        require_no_loop(hops, OWN)


def test_a_row_is_none() -> None:
    require_no_loop((), OWN)
    require_no_loop((ONE, OTHER), OWN)


def test_of_many_the_last_count_and_a_circle_of_so_many_is_found() -> None:
    made_up = tuple(pseudonym(bytes([1, number // 256, number % 256, 0, 0, 0, 0, 0])) for number in range(280))
    circle = (OWN, *made_up[: MOST_HOPS - 1])
    assert hops_of(via((*made_up, *circle))) == circle
    assert hops_of(via(made_up)) == made_up[-MOST_HOPS:]
