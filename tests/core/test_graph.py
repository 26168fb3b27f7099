"""What goes when images leave."""

from collections.abc import Collection

import pytest

from proxy.core.graph import Graph, Membership, Node, Place, Removed
from proxy.core.names import Digest, Repository, Tag
from proxy.core.patterns import ContentPattern, fits

HERE = Repository("registry.test", "team/app")
THERE = Repository("registry.test", "team/other")


def d(name: str) -> Digest:
    return Digest.of(name.encode())


def blob(name: str, parents: int = 1) -> Node:
    return Node(d(name), 10, False, parents=parents)


def image(
    name: str, *children: str, at: Collection[Repository] = (HERE,), tags: Collection[str] = (), parents: int = 0,
    indexes: Collection[str] = (), referrers: Collection[str] = (),
) -> Node:  # fmt: skip
    places = tuple(Place(one, tuple(map(Tag, tags)), frozenset(map(d, indexes))) for one in at)
    return Node(d(name), 1, True, "", parents, places, tuple(map(d, children)), tuple(map(d, referrers)))


def graph(*nodes: Node, pinned: Collection[str] = (), used: Collection[str] = ()) -> Graph:
    held, busy = set(map(d, pinned)), set(map(d, used))
    return Graph(nodes, lambda node, place: node.digest in held, lambda digest: digest in busy)


def expired(found: Graph, *names: str, at: Repository = HERE) -> tuple[set[Digest], set[Digest]]:
    """What is freed, and what stays."""
    removal, stays = found.expire([Membership(at, d(name)) for name in names])
    return {node.digest for node in removal.freed}, {membership.digest for membership in stays}


def ds(*names: str) -> set[Digest]:
    return set(map(d, names))


def test_an_image_frees_its_own_parts_and_not_what_another_shares() -> None:
    found = graph(image("a", "own", "shared"), blob("own"), blob("shared", parents=2))
    assert expired(found, "a") == (ds("a", "own"), set())


def test_two_that_share_a_part_free_it_together_in_one_step_or_in_two() -> None:
    nodes = (image("a", "shared"), image("b", "shared"), blob("shared", parents=2))
    assert expired(graph(*nodes), "a", "b") == (ds("a", "b", "shared"), set())
    removed = Removed()
    first, _ = graph(nodes[0], nodes[2]).expire([Membership(HERE, d("a"))], removed)
    second, _ = graph(nodes[1], nodes[2]).expire([Membership(HERE, d("b"))], removed)
    assert [sorted(node.digest for node in each.freed) for each in (first, second)] == [
        [d("a")],
        sorted(ds("b", "shared")),
    ]


def test_an_image_of_two_repositories_leaves_one_and_keeps_its_bytes() -> None:
    found = graph(image("a", "layer", at=(HERE, THERE)), blob("layer"))
    removal, stays = found.expire([Membership(HERE, d("a"))])
    assert (removal.memberships, removal.freed, stays) == (frozenset({Membership(HERE, d("a"))}), (), [])


def test_an_index_takes_its_children_along_but_not_those_that_stand_by_themselves() -> None:
    found = graph(
        image("index", "child", "tagged", "shared"),
        image("child", "layer", indexes=["index"], parents=1),
        image("tagged", "kept", tags=["v1"], indexes=["index"], parents=1),
        image("shared", indexes=["index", "other"], parents=2),
        blob("layer"),
        blob("kept"),
    )
    assert expired(found, "index") == (ds("index", "child", "layer"), set())


def test_a_child_of_an_index_stays_as_long_as_the_index() -> None:
    nodes = (image("index", "child"), image("child", "layer", indexes=["index"], parents=1), blob("layer"))
    assert expired(graph(*nodes), "child") == (set(), ds("child"))
    assert expired(graph(*nodes), "child", "index") == (ds("index", "child", "layer"), set())


def test_a_child_of_an_index_elsewhere_that_was_pulled_here_by_itself_keeps_its_bytes() -> None:
    child = Node(d("child"), 1, True, "", 1, (Place(HERE), Place(THERE, (), frozenset({d("index")}))), ())
    found = graph(image("index", "child", at=[THERE]), child)
    assert expired(found, "index", at=THERE) == (ds("index"), set())


def test_referrers_go_with_their_subject() -> None:
    found = graph(image("a", referrers=["signature"]), image("signature", "proof"), blob("proof"))
    assert expired(found, "a") == (ds("a", "signature", "proof"), set())


def test_what_is_pinned_or_in_use_stays_whole() -> None:
    nodes = (image("a", "layer", "elsewhere"), blob("layer"))
    assert expired(graph(*nodes, pinned=["a"]), "a") == (set(), ds("a"))
    assert expired(graph(*nodes, used=["layer"]), "a") == (set(), ds("a"))
    assert expired(graph(*nodes, used=["elsewhere"]), "a") == (set(), ds("a")), "a part of it is arriving"


def test_a_part_in_use_that_others_need_too_holds_nobody() -> None:
    found = graph(image("a", "shared"), blob("shared", parents=2), used=["shared"])
    assert expired(found, "a") == (ds("a"), set())


def evicted(found: Graph, order: Collection[str], wanted: int) -> set[Digest]:
    return {node.digest for node in found.evict(list(map(d, order)), wanted, lambda node: node.size).freed}


@pytest.mark.parametrize(
    ("wanted", "gone"),
    [(0, ()), (1, ("a", "la")), (11, ("a", "la")), (12, ("a", "la", "b", "lb")), (999, ("a", "la", "b", "lb"))],
)
def test_eviction_takes_the_shortest_run_of_whole_images(wanted: int, gone: tuple[str, ...]) -> None:
    found = graph(image("a", "la"), blob("la"), image("b", "lb"), blob("lb"))
    assert evicted(found, ["a", "b"], wanted) == ds(*gone)


def test_eviction_passes_over_what_is_pinned_or_in_use() -> None:
    nodes = (image("a", "la"), blob("la"), image("b", "lb", at=(HERE, THERE)), blob("lb"), image("c"))
    found = graph(*nodes, pinned=["a"], used=["lb"])
    assert evicted(found, ["a", "b", "c"], 1) == ds("c")


def test_eviction_frees_what_has_no_repository_any_more() -> None:
    found = graph(image("adopted", "layer", at=()), blob("layer"), blob("orphan", parents=0))
    assert evicted(found, ["adopted", "orphan"], 12) == ds("adopted", "layer", "orphan")


def test_a_purge_takes_a_part_out_of_the_middle() -> None:
    removal = graph(blob("layer", parents=3)).purge(d("layer"))
    assert {node.digest for node in removal.freed} == ds("layer")
    assert not graph(blob("layer", parents=3), used=["layer"]).purge(d("layer")).freed
    whole = graph(image("a", "layer"), blob("layer")).purge(d("a"))
    assert {node.digest for node in whole.freed} == ds("a", "layer")


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("docker.io/*", "docker.io/library/nginx", True),
        ("docker.io/*/nginx", "docker.io/library/nginx", True),
        ("*a*a*a*b", "a" * 200, False),
        ("v?", "v1", True),
        ("v?", "v", False),
        ("", "", True),
        ("*", "", True),
        ("nginx", "Nginx", False),
    ],
)
def test_a_star_is_any_run_and_a_question_mark_one_character(pattern: str, text: str, expected: bool) -> None:
    assert fits(pattern, text) is expected


def test_a_pattern_knows_a_tag_from_a_port() -> None:
    assert ContentPattern.parse("localhost:5000/app") == ContentPattern("localhost:5000/app")
    assert ContentPattern.parse("localhost:5000/app:v*") == ContentPattern("localhost:5000/app", "v*")
    assert ContentPattern.parse(f"r.test/app:v1@{d('x')}") == ContentPattern("r.test/app", "v1", d("x"))
    pinned = ContentPattern.parse("r.test/app:v1")
    assert pinned.covers("r.test/app", ("latest", "v1"), d("x"))
    assert not pinned.covers("r.test/app", ("latest",), d("x"))
    assert not pinned.covers("r.test/apple", ("v1",), d("x"))
    assert str(pinned) == "r.test/app:v1"
