"""The small pure values: names, spans, freshness, budget, paging."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.budget import Budget, ByteLimits
from proxy.core.errors import DigestInvalid, NameInvalid, PageInvalid, TagInvalid
from proxy.core.freshness import Standing, TagRules, age, standing
from proxy.core.names import Digest, Hasher, UpstreamNames, parse_name, parse_reference
from proxy.core.paging import cut, next_link, parse_limit
from proxy.core.spans import Spans

HEX = "a" * 64


@pytest.mark.parametrize(
    "text",
    [
        "md5:" + "a" * 32, "sha1:" + "a" * 40, f"SHA256:{HEX}", f"sha256:{HEX.upper()}", f"sha256:{HEX[:-1]}",
        f"sha256:{HEX}a", f"sha256+b64u:{HEX}", f"sha256:{HEX}:x", f"sha256:{HEX}\n", f"blake3:{HEX}", "sha512:" + HEX,
        f"sha256:{HEX[:-1]}٣", f"sha256:../{HEX[3:]}",
    ],
)  # fmt: skip
def test_only_sha256_and_sha512_in_lower_hex_are_digests(text: str) -> None:
    with pytest.raises(DigestInvalid):
        parse_reference(text)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "a//b",
        "a/",
        "/a",
        "A/b",
        "a/../b",
        "..",
        "a\x00b",
        "a b",
        "a\n",
        "ä",
        "a/_b",
        "a___b",
        "a..b",
        "-a",
        "a" * 256,
    ],
)
def test_what_is_not_a_repository_name_is_refused(name: str) -> None:
    with pytest.raises(NameInvalid):
        parse_name(name)


@pytest.mark.parametrize("name", ["a", "library/redis", "a--b/c__d/e.f", "foo/manifests", "a" * 255])
def test_names_of_the_grammar_pass(name: str) -> None:
    assert parse_name(name) == name


@pytest.mark.parametrize("tag", ["", ".a", "-a", "a" * 129, "a/b", "a\n", "é", "a b"])
def test_what_is_not_a_tag_is_refused(tag: str) -> None:
    with pytest.raises(TagInvalid):
        parse_reference(tag)


def test_a_proof_copied_half_way_ends_like_the_one_that_went_through() -> None:
    whole = b"abc" * 1000
    verifier = Hasher(Digest.of(whole))
    verifier.update(whole[:1000])
    twin = verifier.copy()
    for hasher in (verifier, twin):
        hasher.update(whole[1000:])
        assert hasher.agrees()
        assert hasher.count == len(whole)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 60)), max_size=30), st.integers(0, 260))
def test_spans_know_what_a_plain_set_of_positions_knows(writes: list[tuple[int, int]], position: int) -> None:
    spans, positions = Spans(), set()
    for start, length in writes:
        spans.add(start, start + length)
        positions |= set(range(start, start + length))
    run = position
    while run in positions:
        run += 1
    assert spans.run_from(position) == run
    assert spans.total == len(positions)
    gaps = {at for start, end in spans.missing(260) for at in range(start, end)}
    assert gaps == set(range(260)) - positions


RULES = TagRules(ttl=60, stale_if_error=600)
NOW = 1_700_000_000


@pytest.mark.parametrize(
    ("checked_at", "expected"),
    [
        (NOW, Standing.FRESH),
        (NOW - 60, Standing.FRESH),
        (NOW - 61, Standing.STALE),
        (NOW - 660, Standing.STALE),
        (NOW - 661, Standing.DEAD),
    ],
)
def test_the_standing_of_a_tag_follows_from_its_age(checked_at: float, expected: Standing) -> None:
    assert standing(RULES, checked_at, NOW) is expected
    assert age(checked_at, NOW) == NOW - checked_at


@pytest.mark.parametrize(
    "checked_at",
    [NOW + 1, NOW + 366 * 86_400, 0, 86_400, 1_500_000_000],
    ids=["a second ahead", "a year ahead", "at the epoch", "in 1970", "in 2017"],
)
def test_a_tag_that_a_wrong_clock_checked_is_neither_believed_nor_dead(checked_at: float) -> None:
    assert standing(RULES, checked_at, NOW) is Standing.STALE
    assert age(checked_at, NOW) is None, "nobody knows how old it is"


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=60))
def test_the_budget_never_grants_beyond_the_hard_limit_and_returns_to_zero(steps: list[tuple[int, bool]]) -> None:
    budget = Budget(ByteLimits(1000))
    for size, whole in steps:
        reservation = budget.reserve(size)
        if reservation is None:
            assert budget.used + size > budget.limits.hard
            budget.forget(budget.committed)
            continue
        if whole:
            reservation.commit(size)
        reservation.release()
        assert budget.used <= budget.limits.hard
        assert budget.reserved == 0


def test_a_reservation_that_grows_gives_all_of_it_back() -> None:
    budget = Budget(ByteLimits(1000))
    reservation = budget.reserve(400)
    assert reservation is not None
    assert reservation.extend(400)
    assert not reservation.extend(400)
    reservation.release()
    reservation.release()
    assert budget.used == 0


def test_excess_is_what_leads_back_below_the_soft_limits_target() -> None:
    budget = Budget(ByteLimits(1000), committed={"docker.io": 900, "quay.io": 90})
    assert budget.excess() == 0
    assert budget.excess(100) == 190
    assert budget.excess(10) == 0


@pytest.mark.parametrize(("text", "limit"), [(None, None), ("0", 0), ("7", 7), ("999999999", 1000)])
def test_n_is_a_number_and_clamped(text: str | None, limit: int | None) -> None:
    assert parse_limit(text) == limit


@pytest.mark.parametrize("text", ["", "-1", "x", "1.5", "٣", "9" * 40, " 1"])
def test_what_is_no_number_of_results_is_refused(text: str) -> None:
    with pytest.raises(PageInvalid):
        parse_limit(text)


def test_an_upstream_that_ignores_n_is_cut_into_pages_that_lose_nothing() -> None:
    tags = [f"t{number:02}" for number in range(25)]
    seen: list[str] = []
    query: str | None = "n=10"
    for _ in range(10):
        assert query is not None
        page = cut(tags, 10, query, None)
        seen += page.names
        query = page.next_query
        if query is None:
            break
    assert seen == tags


def test_an_upstream_that_pages_is_left_alone() -> None:
    assert cut(["b", "a"], 2, "n=2", "next_page=%2B/x&n=2") == (["b", "a"], "next_page=%2B/x&n=2")


def test_pages_that_are_longer_than_asked_for_lose_nothing_either() -> None:
    """It ignores ``n``, names its own place, and leaves ``n`` out of its link."""
    pages = {None: (["a", "b", "c"], "token=2"), "2": (["d", "e", "f"], None)}
    seen: list[str] = []
    query: str | None = "n=2"
    for _ in range(10):
        assert query is not None
        token = dict(pair.split("=") for pair in query.split("&")).get("token")
        page = cut(pages[token][0], 2, query, pages[token][1])
        assert len(page.names) <= 2
        seen += page.names
        query = page.next_query
        if query is None:
            break
    assert seen == ["a", "b", "c", "d", "e", "f"]


def test_an_upstream_that_ignores_last_too_is_not_believed() -> None:
    assert cut(["a", "b", "c"], 2, "n=2&last=b", None) == (["c"], None)


def test_a_link_keeps_all_but_the_namespace_which_is_our_own() -> None:
    link = next_link("/v2/a/tags/list", "n=5&ns=other.test&nextToken=a%2Fb%3D", "docker.io")
    assert link == '</v2/a/tags/list?n=5&nextToken=a%2Fb%3D&ns=docker.io>; rel="next"'


NAMES = UpstreamNames.of(["docker.io", "*.dkr.ecr.us-east-1.amazonaws.com", "registry.test:5000"], "docker.io")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("docker.io", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("registry.test:5000", "registry.test:5000"),
        ("registry.test", None),
        ("evil.test", None),
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com", "123456789012.dkr.ecr.us-east-1.amazonaws.com"),
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com.evil.test", None),
        ("a.b.dkr.ecr.us-east-1.amazonaws.com", None),
        ("a\r\nX: y.dkr.ecr.us-east-1.amazonaws.com", None),
        ("*.dkr.ecr.us-east-1.amazonaws.com", None),
        ("dkr.ecr.us-east-1.amazonaws.com", None),
        ("", None),
    ],
)
def test_only_configured_upstreams_are_found(asked: str, found: str | None) -> None:
    assert NAMES.find(asked) == found
