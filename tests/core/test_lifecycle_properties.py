"""What holds for every policy and every list of images; and a slow evaluator, written from ECR's words, that agrees."""

import json
import re
from collections.abc import Callable, Sequence
from itertools import product
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.core.lifecycle import (
    Action,
    CountType,
    CountUnit,
    Decision,
    Image,
    Policy,
    PolicyInvalid,
    Rule,
    Selection,
    StorageClass,
    TagStatus,
    evaluate,
    parse_extended_policy,
    parse_policy,
)
from proxy.core.lifecycle.patterns import matches

DAY = 86_400.0
NOW = 20_000 * DAY
Json = dict[str, object]

# A machine that is busy with other tests is no fault of ours.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TAGS = ["a", "ab", "abc", "b", "ba", "v1", "v12"]
PATTERNS = ["a", "v", "a*", "*b", "*a*b*", "v1", "*", "ab*ba", "a**c"]
EXPIRE: Json = {"type": "expire"}
TRANSITION: Json = {"type": "transition", "targetStorageClass": "archive"}
DIGESTS = [f"d{n}" for n in range(9)]
AGES = [0.5, 1, 2, 3, 90, 91, 200]
Counts = Callable[[Random], tuple[Json, Json]]


def some_images(random: Random) -> list[Image]:
    """In any order, many at the same time."""
    images = [_image(random, digest) for digest in DIGESTS[: random.randint(0, len(DIGESTS))]]
    random.shuffle(images)
    return images


def _image(random: Random, digest: str) -> Image:
    def time() -> float:
        return NOW - random.choice(AGES) * DAY

    return Image(
        repository="team/app",
        digest=digest,
        tags=tuple(random.sample(TAGS, random.randint(0, 3))),
        pushed_at=time(),
        pulled_at=random.choice([None, time()]),
        size=random.randint(0, 5),
        references=random.choice([(), (), (), (), (), (), tuple(random.sample(DIGESTS, 2))]),
        subject=random.choice([None, None, random.choice(DIGESTS)]),
        storage_class=random.choice([StorageClass.STANDARD, StorageClass.STANDARD, StorageClass.ARCHIVE]),
        activated_at=random.choice([None, None, time()]),
        archived_at=random.choice([None, time()]),
    )


def strict_count(random: Random) -> tuple[Json, Json]:
    action = random.choice([EXPIRE, TRANSITION])
    match random.choice(["imageCountMoreThan", "sinceImagePushed", "sinceImagePulled", "sinceImageTransitioned"]):
        case "imageCountMoreThan" as kind:
            return {"countType": kind, "countNumber": random.randint(1, 4)}, action
        case "sinceImageTransitioned" as kind:
            cold = {"storageClass": "archive", "countType": kind, "countUnit": "days"}
            return {**cold, "countNumber": random.choice([90, 91, 199])}, EXPIRE
        case kind:
            age = {"countType": kind, "countUnit": "days", "countNumber": random.randint(1, 4)}
            return age, TRANSITION if kind == "sinceImagePulled" else action


def extended_count(random: Random) -> tuple[Json, Json]:
    action = random.choice([EXPIRE, TRANSITION])
    match random.randint(0, 4):
        case 0:
            return {"countType": "totalSizeMoreThan", "countNumber": random.randint(1, 20)}, action
        case 1:
            unit, number = random.choice([("days", 2), ("hours", 48), ("hours", 12)])
            return {"countType": "sinceImagePulled", "countUnit": unit, "countNumber": number}, action
        case _:
            return strict_count(random)


def some_rules(random: Random, count: Counts, most: int) -> list[Json]:
    """In any order; of even priorities, so that there is room between them; ``any`` last."""
    rules: dict[str, Json] = {}
    for _ in range(random.randint(1, most)):
        criteria, (number, action) = _criteria(random), count(random)
        rules[repr((criteria, number.get("storageClass")))] = {"selection": {**criteria, **number}, "action": action}
    ordered = sorted(rules.values(), key=lambda rule: "'any'" in repr(rule))
    numbered = [{**rule, "rulePriority": 2 * n} for n, rule in enumerate(ordered, 1)]
    random.shuffle(numbered)
    return numbered


def _criteria(random: Random) -> Json:
    entries = sorted(random.sample(PATTERNS, random.choice([1, 1, 2])))
    tagged: list[Json] = [{"tagStatus": "tagged", key: entries} for key in ("tagPatternList", "tagPrefixList")]
    return random.choice([*tagged, tagged[0], {"tagStatus": "untagged"}, {"tagStatus": "any"}])


def documents(count: Counts, most: int = 5) -> st.SearchStrategy[list[Json]]:
    return randoms.map(lambda random: some_rules(random, count, most))


randoms = st.integers(0, 2**32).map(Random)
repositories = randoms.map(some_images)
lone_images = repositories.map(lambda images: [image._replace(references=()) for image in images])
strict_rules, extended_rules = documents(strict_count), documents(extended_count)


def policy_from(rules: Sequence[Json]) -> Policy:
    return parse_extended_policy(json.dumps({"rules": list(rules)}))


def slow_evaluator(policy: Policy, images: list[Image]) -> set[tuple[str, str, int]]:
    """Everything is asked anew of every image: no order is kept, nothing is shared between rules."""
    protected = {child for image in images for child in image.references}
    eligible = [i for i in images if i.digest not in protected and i.subject is None]
    result: dict[str, tuple[str, int]] = {}
    for image in eligible:
        for rule in policy.rules:
            if image.storage_class == rule.selection.storage_class and has_tags(rule, image):
                if is_chosen(rule, image, eligible):
                    result[image.digest] = (rule.action.value, rule.priority)
                break
    grown = True
    while grown:
        grown = False
        for image in images:
            if image.digest not in protected and image.subject in result and image.digest not in result:
                result[image.digest] = result[image.subject or ""]
                grown = True
    classes = {image.digest: image.storage_class for image in images}
    return {(d, a, p) for d, (a, p) in result.items() if a == "expire" or classes[d] == "standard"}


def has_tags(rule: Rule, image: Image) -> bool:
    asked = rule.selection
    if asked.tag_status is TagStatus.TAGGED:
        expressions = ["".join(".*" if c == "*" else re.escape(c) for c in pattern) for pattern in asked.patterns]
        expressions += [re.escape(prefix) + ".*" for prefix in asked.prefixes]
        return all(any(re.fullmatch(expression, tag) for tag in image.tags) for expression in expressions)
    return asked.tag_status is TagStatus.ANY or image.tags == ()


def is_chosen(rule: Rule, image: Image, eligible: list[Image]) -> bool:
    asked = rule.selection
    others = [i for i in eligible if i.storage_class == asked.storage_class and has_tags(rule, i)]
    newer = [i for i in others if (-pushed_or_restored(i), i.digest) < (-pushed_or_restored(image), image.digest)]
    match asked.count_type:
        case CountType.IMAGE_COUNT:
            return len(newer) >= asked.count_number
        case CountType.SINCE_PUSHED:
            return days_since(pushed_or_restored(image)) > limit_in_days(asked)
        case CountType.SINCE_PULLED:
            return days_since(last_pull(image)) > limit_in_days(asked)
        case CountType.SINCE_TRANSITIONED:
            return image.archived_at is not None and days_since(image.archived_at) > limit_in_days(asked)
        case CountType.TOTAL_SIZE:
            rank = (-last_pull(image), -pushed_or_restored(image), image.digest)
            ahead = [i for i in others if (-last_pull(i), -pushed_or_restored(i), i.digest) <= rank]
            return sum(i.size for i in ahead) > asked.count_number


def pushed_or_restored(image: Image) -> float:
    return image.pushed_at if image.activated_at is None else image.activated_at


def last_pull(image: Image) -> float:
    if image.activated_at is not None and (image.pulled_at is None or image.pulled_at < image.activated_at):
        return image.activated_at
    return image.pushed_at if image.pulled_at is None else image.pulled_at


def limit_in_days(asked: Selection) -> float:
    return asked.count_number / 24 if asked.count_unit is CountUnit.HOURS else asked.count_number


def days_since(time: float) -> float:
    return (NOW - time) / DAY


def digests(decisions: Sequence[Decision]) -> set[str]:
    return {decision.image.digest for decision in decisions}


@settings(unhurried, max_examples=1000)
@given(extended_rules, repositories)
def test_the_slow_evaluator_agrees(rules: list[Json], images: list[Image]) -> None:
    policy = policy_from(rules)
    decisions = evaluate(policy, images, NOW)
    found = {(each.image.digest, each.action.value, each.rule_priority) for each in decisions}
    assert found == slow_evaluator(policy, images)
    assert len(found) == len(decisions)


@unhurried
@given(extended_rules, repositories, randoms)
def test_neither_the_order_of_the_images_nor_of_the_rules_matters(
    rules: list[Json], images: list[Image], random: Random
) -> None:
    first = evaluate(policy_from(rules), images, NOW)
    random.shuffle(images)
    random.shuffle(rules)
    assert evaluate(policy_from(rules), images, NOW) == first


@unhurried
@given(documents(extended_count, most=1), lone_images)
def test_one_rule_on_what_it_left_finds_nothing_more(rules: list[Json], images: list[Image]) -> None:
    """Of images that no index refers to: the children of an index that went are free at the next run."""
    policy = policy_from(rules)
    gone = digests(evaluate(policy, images, NOW))
    assert evaluate(policy, [image for image in images if image.digest not in gone], NOW) == []


@unhurried
@given(documents(extended_count, most=1), repositories, st.integers(1, 9))
def test_a_higher_count_number_never_acts_on_more(rules: list[Json], images: list[Image], more: int) -> None:
    [rule] = rules
    selection = rule["selection"]
    assert isinstance(selection, dict)
    generous = {**rule, "selection": {**selection, "countNumber": selection["countNumber"] + more}}
    acted_on = digests(evaluate(policy_from([generous]), images, NOW))
    assert acted_on <= digests(evaluate(policy_from([rule]), images, NOW))


@unhurried
@given(extended_rules, randoms.map(extended_count), repositories, st.data())
def test_a_rule_that_identifies_no_image_changes_nothing(
    rules: list[Json], count: tuple[Json, Json], images: list[Image], data: st.DataObject
) -> None:
    before = [priority for priority in range(1, 2 * len(rules), 2)]
    selection = {"tagStatus": "tagged", "tagPatternList": ["nobody-has-*"], **count[0]}
    priority = data.draw(st.sampled_from([1] if "'any'" in repr(rules) else before))
    disjoint: Json = {"rulePriority": priority, "selection": selection, "action": count[1]}
    assert evaluate(policy_from([*rules, disjoint]), images, NOW) == evaluate(policy_from(rules), images, NOW)


@unhurried
@given(strict_rules, repositories)
def test_whatever_strict_accepts_means_the_same_in_the_extended_dialect(rules: list[Json], images: list[Image]) -> None:
    text = json.dumps({"rules": rules})
    strict, extended = parse_policy(text), parse_extended_policy(text)
    assert strict == extended
    assert evaluate(strict, images, NOW) == evaluate(extended, images, NOW)


@unhurried
@given(extended_rules, repositories)
def test_no_child_of_an_index_is_ever_acted_on(rules: list[Json], images: list[Image]) -> None:
    children = {child for image in images for child in image.references}
    assert not children & digests(evaluate(policy_from(rules), images, NOW))


NAMES = ["rules", "rulePriority", "selection", "action", "type", "tagStatus", "countType", "countNumber", "countUnit"]
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-2, 99)
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from([*TAGS, *NAMES])
)
anything = st.recursive(
    scalars | st.sampled_from(["any", "untagged", "expire", "days", "imageCountMoreThan"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
)


@unhurried
@given(anything, extended_rules, st.data())
def test_whatever_the_document_the_answer_is_a_policy_or_its_faults(
    value: object, rules: list[Json], data: st.DataObject
) -> None:
    """A value of any kind in the place of any member of a good policy."""
    rule = data.draw(st.sampled_from(rules))
    inside = data.draw(st.sampled_from([rule, rule["selection"], rule["action"]]))
    assert isinstance(inside, dict)
    inside[data.draw(st.sampled_from([*NAMES, "storageClass", "tagPatternList", "description"]))] = value
    for document in (value, {"rules": value}, {"rules": [*rules, value]}, {"rules": rules}):
        try:
            policy = parse_extended_policy(json.dumps(document))
        except PolicyInvalid as invalid:
            assert invalid.faults
        else:
            assert all(type(each.priority) is int and each.action in Action for each in policy.rules)


def test_every_short_pattern_matches_as_the_regular_expression_with_its_meaning() -> None:
    tags = ["".join(letters) for length in range(5) for letters in product("ab", repeat=length)]
    for pattern in ("".join(letters) for length in range(6) for letters in product("ab*", repeat=length)):
        expression = re.compile(".*".join(map(re.escape, pattern.split("*"))))
        meant = [tag for tag in tags if expression.fullmatch(tag)]
        assert list(filter(matches(pattern), tags)) == meant, pattern


@pytest.mark.parametrize("pattern", ["a*a*a*a*b", "*a*a*a*b", "*aab*aab*aab*aab"])
def test_a_pattern_that_would_stall_a_backtracking_matcher_is_decided(pattern: str) -> None:
    assert not matches(pattern)("a" * 1_000_000)


def test_a_star_matches_across_line_ends_and_case_counts() -> None:
    assert matches("v*1")("v\n1")
    assert not matches("v*")("V1")
