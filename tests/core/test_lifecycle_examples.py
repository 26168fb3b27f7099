"""Worked examples: those of ECR's user guide, one that ECR itself computed, and what follows from the rules."""

import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from proxy.core.lifecycle import (
    Image,
    StorageClass,
    by_repository,
    evaluate,
    evaluate_all,
    parse_extended_policy,
    parse_policy,
)

DAY = 86_400.0
NOW = 20_000 * DAY
Selection = dict[str, object]


class Example(NamedTuple):
    says: str
    images: list[Image]
    rules: list[Selection]
    acted_on: dict[str, int]  # image → the priority of the rule that acts


def image(name: str, tags: str = "", *, age: float, **more: object) -> Image:
    """Ages are days before NOW; so are ``pulled``, ``activated`` and ``archived``."""
    times = {f"{key}_at": NOW - days * DAY for key, days in more.items() if isinstance(days, int | float)}
    others = {key: value for key, value in more.items() if not isinstance(value, int | float)}
    return Image("team/app", name, tuple(tags.split()), NOW - age * DAY, **times, **others)  # type: ignore[arg-type]


def archived(name: str, *, days: float) -> Image:
    return image(name, age=900, archived=days, storage_class=StorageClass.ARCHIVE)


def count(number: int, *patterns: str, **more: object) -> Selection:
    return {**_tags(*patterns), "countType": "imageCountMoreThan", "countNumber": number, **more}


def age(number: int, *patterns: str, kind: str = "sinceImagePushed", unit: str = "days", **more: object) -> Selection:
    return {**_tags(*patterns), "countType": kind, "countUnit": unit, "countNumber": number, **more}


def _tags(*patterns: str) -> Selection:
    if not patterns:
        return {"tagStatus": "any"}
    return {"tagStatus": "untagged"} if patterns == ("",) else {"tagStatus": "tagged", "tagPatternList": list(patterns)}


def policy_text(*selections: Selection) -> str:
    """Rules of priority 1, 2, …; one that has the key ``to`` transitions."""
    rules = []
    for priority, selection in enumerate(selections, 1):
        asked = dict(selection)
        target = asked.pop("to", None)
        action = {"type": "transition", "targetStorageClass": target} if target else {"type": "expire"}
        rules.append({"rulePriority": priority, "selection": asked, "action": action})
    return json.dumps({"rules": rules})


PROD_AND_BETA = [image("A", "beta-1 prod-1", age=10), image("B", "beta-2 prod-2", age=9), image("C", "beta-3", age=8)]
SIX_LETTERS = [
    image("A", "alpha-1", age=12),
    image("B", "beta-1", age=11),
    image("C", "alpha-2 beta-2", age=10),
    image("D", "alpha-3", age=4),
    image("E", "beta-3", age=3),
    image("F", "alpha-4 beta-4", age=2),
]
INDEX = image("index", "v24", age=0, references=("child-1", "child-2"))
TWENTY_FOUR = [INDEX, *(image(f"I{n:02}", f"v{24 - n}", age=n) for n in range(1, 24))]
CHILDREN = [image("child-1", age=90), image("child-2", age=0)]
ALPHA_UNTAGGED_ANY = [count(1, "alpha*"), age(1, ""), count(1)]
PULLS = [
    image("X", "x", age=60, pulled=5),
    image("Y", "y", age=60),
    image("Z", "z", age=400, activated=60, pulled=90),
    image("W", "w", age=10),
]


def four_and_a_new_one(d_age: float, e_age: float) -> list[Image]:
    older = [image("A", "alpha-1 beta-1", age=4), image("B", age=3), image("C", "alpha-2", age=2)]
    return [*older, image("D", "git-hash", age=d_age), image("E", age=e_age)]


EXAMPLES = [
    Example(
        "a higher rule claims also what it keeps",
        PROD_AND_BETA,
        [count(1, "prod*"), count(1, "beta*")],
        {"A": 1},
    ),
    Example(
        "the same rules the other way round act on two images by the first rule",
        PROD_AND_BETA,
        [count(1, "beta*"), count(1, "prod*")],
        {"A": 1, "B": 1},
    ),
    Example("two patterns by age choose only what has both", SIX_LETTERS, [age(5, "alpha*", "beta*")], {"C": 1}),
    Example(
        "two patterns by count count only what has both",
        [
            image("A", "alpha-1 beta-1 gamma-1", age=10),
            image("B", "alpha-2 beta-2", age=9),
            image("C", "alpha-3 beta-3 gamma-2", age=8),
        ],
        [count(1, "alpha*", "beta*")],
        {"A": 1, "B": 1},
    ),
    Example(
        "any is tagged and untagged",
        [image("A", "x", age=4), image("B", "y", age=3), image("C", age=2), image("D", "z", age=1)],
        [count(1)],
        {"A": 1, "B": 1, "C": 1},
    ),
    Example(
        "tagged, untagged and any act side by side when the newest is untagged",
        four_and_a_new_one(d_age=1, e_age=0.9),
        ALPHA_UNTAGGED_ANY,
        {"A": 1, "B": 2, "D": 3},
    ),
    Example(
        "tagged, untagged and any spare the newest tagged image",
        four_and_a_new_one(d_age=0.9, e_age=1),
        ALPHA_UNTAGGED_ANY,
        {"A": 1, "B": 2},
    ),
    Example(
        "the children of an index are neither counted nor chosen",
        [*TWENTY_FOUR, *CHILDREN],
        [count(20)],
        {"I20": 1, "I21": 1, "I22": 1, "I23": 1},
    ),
    Example(
        "a rule with a high number shields what the any rule would take",
        [
            image("P", "prod-1", age=400),
            image("Q", "v1", age=300),
            image("R", "v2", age=200),
            image("S", "v3", age=100),
        ],
        [count(9999, "prod*"), count(2)],
        {"Q": 2},
    ),
    Example(
        "an image expired by a higher rule still takes a place in a lower one",
        [
            image("A", "dev-1 rel-1", age=1),
            image("B", "dev-2 rel-2", age=2),
            image("C", "rel-3", age=3),
            image("D", "rel-4", age=4),
        ],
        [count(1, "dev*"), count(2, "rel*")],
        {"B": 1, "C": 2, "D": 2},
    ),
    Example(
        "the age since the last pull is that of the push if never pulled, of the restoration if not pulled since",
        PULLS,
        [age(30, kind="sinceImagePulled", to="archive")],
        {"Y": 1, "Z": 1},
    ),
    Example(
        "a rule for archived images sees nothing else",
        [archived("M", days=400), archived("N", days=100), image("O", age=900)],
        [age(365, kind="sinceImageTransitioned", storageClass="archive")],
        {"M": 1},
    ),
    Example(
        "an image of exactly the age is not older",
        [image("A", age=15), image("B", age=14), image("C", "v1", age=30)],
        [age(14, "")],
        {"A": 1},
    ),
]
FURTHER = [
    Example(
        "a rule for standard images neither sees nor counts the archive",
        [archived("M", days=1), image("O", age=900), image("P", age=901)],
        [count(1)],
        {"P": 1},
    ),
    Example(
        "a restored image is as new as its restoration",
        [image("A", age=900, activated=1), image("B", age=2), image("C", age=3)],
        [count(2)],
        {"C": 1},
    ),
    Example(
        "a restored image ages from its restoration",
        [image("A", age=900, activated=1), image("B", age=900, activated=9)],
        [age(5)],
        {"B": 1},
    ),
    Example(
        "a pull after the restoration counts",
        [image("A", age=900, activated=60, pulled=5), image("B", age=900, activated=60)],
        [age(30, kind="sinceImagePulled", to="archive")],
        {"B": 1},
    ),
    Example(
        "an archived image without a time stays",
        [image("A", age=900, storage_class=StorageClass.ARCHIVE)],
        [age(90, kind="sinceImageTransitioned", storageClass="archive")],
        {},
    ),
    Example(
        "an archived index protects its standard child",
        [
            image("index", age=900, archived=1, references=("child",), storage_class=StorageClass.ARCHIVE),
            image("child", age=900),
        ],
        [age(1)],
        {},
    ),
    Example(
        "the children of an index that goes stay until a later run",
        [image("index", age=9, references=("child",)), image("child", age=9)],
        [age(1)],
        {"index": 1},
    ),
    Example(
        "a signature is not counted and goes with its image, and so does what is attached to the signature",
        [
            image("old", "v1", age=9),
            image("new", "v2", age=8),
            image("old.sig", age=9, subject="old"),
            image("old.sig.sbom", age=8, subject="old.sig"),
            image("new.sig", age=7, subject="new"),
        ],
        [age(1, ""), count(1)],
        {"old": 2, "old.sig": 2, "old.sig.sbom": 2},
    ),
    Example(
        "a signature of what is not in the list stays, and so do signatures of each other",
        [
            image("orphan", age=9, subject="gone"),
            image("a", age=9, subject="b"),
            image("b", age=9, subject="a"),
        ],
        [age(1)],
        {},
    ),
    Example(
        "a signature moves to the archive with its image, unless it is there",
        [
            image("old", "v1", age=9),
            image("old.sig", age=9, subject="old"),
            image("cold.sig", age=9, subject="old", archived=1, storage_class=StorageClass.ARCHIVE),
        ],
        [age(1, to="archive")],
        {"old": 1, "old.sig": 1},
    ),
    Example(
        "a signature that an index refers to stays with the index",
        [
            image("old", "v1", age=9),
            image("old.sig", age=9, subject="old"),
            image("index", "v2", age=0, references=("old.sig",)),
        ],
        [age(1)],
        {"old": 1},
    ),
    Example(
        "hours are finer than days",
        [image("A", age=0.5), image("B", age=0.25)],
        [age(6, unit="hours")],
        {"A": 1},
    ),
    Example(
        "the last pull decides also on expiry, where the dialect allows it",
        PULLS,
        [age(30, kind="sinceImagePulled")],
        {"Y": 1, "Z": 1},
    ),
]


def acted_on(example: Example) -> dict[str, int]:
    decisions = evaluate(parse_extended_policy(policy_text(*example.rules)), example.images, NOW)
    assert len({decision.image.digest for decision in decisions}) == len(decisions)
    return {decision.image.digest: decision.rule_priority for decision in decisions}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.says)
def test_a_worked_example_is_a_policy_that_aws_accepts(example: Example) -> None:
    policy = parse_policy(policy_text(*example.rules))
    assert policy == parse_extended_policy(policy_text(*example.rules))


@pytest.mark.parametrize("example", [*EXAMPLES, *FURTHER], ids=lambda example: example.says)
def test_an_example_is_decided_as_it_says(example: Example) -> None:
    assert acted_on(example) == example.acted_on


def test_by_total_size_the_most_recently_pulled_are_kept_until_the_sum_exceeds() -> None:
    images = [
        image("A", age=50, pulled=1)._replace(size=40),
        image("B", age=10, pulled=9)._replace(size=60),
        image("C", age=30, pulled=20)._replace(size=1),
        image("D", age=40)._replace(size=0),
    ]
    gone = []
    for limit in (39, 40, 99, 100, 101):
        rule: Selection = {"tagStatus": "any", "countType": "totalSizeMoreThan", "countNumber": limit}
        gone.append({each.image.digest for each in evaluate(parse_extended_policy(policy_text(rule)), images, NOW)})
    assert gone == [{"A", "B", "C", "D"}, {"B", "C", "D"}, {"B", "C", "D"}, {"C", "D"}, set()]


def test_of_images_pushed_at_the_same_time_the_lower_digest_counts_as_newer() -> None:
    policy = parse_policy(policy_text(count(1)))
    twins = [image("b", age=1), image("a", age=1)]
    assert [each.image.digest for each in evaluate(policy, twins, NOW)] == ["b"]
    assert evaluate(policy, twins[::-1], NOW) == evaluate(policy, twins, NOW)


def test_prefixes_and_patterns_stand_side_by_side() -> None:
    prefixed = {**age(1), "tagStatus": "tagged", "tagPrefixList": ["v*"]}
    images = [image("A", "v1", age=9), image("B", "v*1", age=9)]
    policy = parse_policy(policy_text(prefixed, age(1, "v*")))
    assert {each.image.digest: each.rule_priority for each in evaluate(policy, images, NOW)} == {"A": 2, "B": 1}


def test_each_repository_is_counted_for_itself_and_asked_for_in_its_turn() -> None:
    policy = parse_policy(policy_text(count(1)))
    images = [
        image(name, age=days)._replace(repository=repository)
        for repository in ("b", "a")
        for name, days in (("old", 2), ("new", 1))
    ]
    decided = [
        [(each.image.repository, each.image.digest) for each in one]
        for one in evaluate_all(policy, by_repository(images), NOW)
    ]
    assert decided == [[("a", "old")], [("b", "old")]]
    with pytest.raises(ValueError, match="one repository"):
        evaluate(policy, images, NOW)


def test_the_next_repository_is_not_asked_for_before_the_last_is_decided() -> None:
    asked: list[str] = []

    def repositories() -> Iterator[list[Image]]:
        for name in ("a", "b"):
            asked.append(name)
            yield [image("old", age=2), image("new", age=1)]

    decisions = evaluate_all(parse_policy(policy_text(count(1))), repositories(), NOW)
    assert len(next(decisions)) == 1
    assert asked == ["a"]
