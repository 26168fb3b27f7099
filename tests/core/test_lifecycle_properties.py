"""What holds for every policy and every list of images; and a slow evaluator, written from ECR's words, that agrees."""

import json
import re
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.lifecycle import (
    Action,
    CountType,
    Decision,
    Image,
    Policy,
    PolicyInvalid,
    Rule,
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

TAGS = ["a", "ab", "abc", "b", "ba", "v1", "v12"]
PATTERNS = ["a*", "*b", "*a*b*", "v1", "*", "b*a", "a**c"]
EXPIRE: Json = {"type": "expire"}
TRANSITION: Json = {"type": "transition", "targetStorageClass": "archive"}
DIGESTS = [f"d{n}" for n in range(14)]

ages = st.none() | st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0, 90.0, 91.0, 200.0])


def image_of(digest: str) -> st.SearchStrategy[Image]:
    times = ages.map(lambda age: None if age is None else NOW - age * DAY)
    return st.builds(
        Image,
        repository=st.just("team/app"),
        digest=st.just(digest),
        tags=st.lists(st.sampled_from(TAGS), max_size=3, unique=True).map(tuple),
        pushed_at=times.map(lambda time: time or NOW - DAY),
        pulled_at=times,
        size=st.integers(0, 5),
        references=st.just(()) | st.just(()) | st.lists(st.sampled_from(DIGESTS), max_size=2).map(tuple),
        subject=st.none() | st.none() | st.sampled_from(DIGESTS),
        storage_class=st.sampled_from([StorageClass.STANDARD, StorageClass.STANDARD, StorageClass.ARCHIVE]),
        activated_at=st.none() | times,
        archived_at=times,
    )


repositories = (
    st.sets(st.sampled_from(DIGESTS)).flatmap(lambda names: st.tuples(*map(image_of, sorted(names)))).map(list)
)
lone_images = repositories.map(lambda images: [image._replace(references=()) for image in images])

small = st.integers(1, 4)
counted = st.builds(lambda n: {"countType": "imageCountMoreThan", "countNumber": n}, small)
pushed = st.builds(lambda n: {"countType": "sinceImagePushed", "countUnit": "days", "countNumber": n}, small)
pulled = st.builds(lambda n: {"countType": "sinceImagePulled", "countUnit": "days", "countNumber": n}, small)
sized = st.builds(lambda n: {"countType": "totalSizeMoreThan", "countNumber": n}, st.integers(1, 20))
cold = st.builds(
    lambda n: {"storageClass": "archive", "countType": "sinceImageTransitioned", "countUnit": "days", "countNumber": n},
    st.integers(90, 200),
)
strict_counts = (
    st.tuples(counted | pushed, st.sampled_from([EXPIRE, TRANSITION]))
    | st.tuples(pulled, st.just(TRANSITION))
    | st.tuples(cold, st.just(EXPIRE))
)
extended_counts = strict_counts | st.tuples(pulled | sized, st.sampled_from([EXPIRE, TRANSITION]))
tag_lists = st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2, unique=True)
criteria = (
    st.builds(lambda tags: {"tagStatus": "tagged", "tagPatternList": tags}, tag_lists)
    | st.builds(lambda tags: {"tagStatus": "tagged", "tagPrefixList": tags}, tag_lists)
    | st.sampled_from([{"tagStatus": "untagged"}, {"tagStatus": "any"}])
)


def _once_per_class(rule: Json) -> str:
    selection = rule["selection"]
    assert isinstance(selection, dict)
    lists = {key: sorted(selection[key]) for key in ("tagPatternList", "tagPrefixList") if key in selection}
    return repr((selection.get("storageClass"), selection["tagStatus"], lists))


def _numbered(rules: list[Json]) -> list[Json]:
    """Even priorities, so that there is room between them; ``any`` last."""
    ordered = sorted(rules, key=lambda rule: "'any'" in repr(rule["selection"]))
    return [{**rule, "rulePriority": 2 * n} for n, rule in enumerate(ordered, 1)]


def documents(counts: st.SearchStrategy[tuple[Json, Json]], most: int = 6) -> st.SearchStrategy[list[Json]]:
    rule = st.builds(lambda tags, count: {"selection": {**tags, **count[0]}, "action": count[1]}, criteria, counts)
    return st.lists(rule, min_size=1, max_size=most, unique_by=_once_per_class).map(_numbered)


strict_rules, extended_rules = documents(strict_counts), documents(extended_counts)


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
            return days_since(pushed_or_restored(image)) > asked.count_number
        case CountType.SINCE_PULLED:
            return days_since(last_pull(image)) > asked.count_number
        case CountType.SINCE_TRANSITIONED:
            return image.archived_at is not None and days_since(image.archived_at) > asked.count_number
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


def days_since(time: float) -> float:
    return (NOW - time) / DAY


def digests(decisions: Sequence[Decision]) -> set[str]:
    return {decision.image.digest for decision in decisions}


@given(extended_rules, repositories)
def test_the_slow_evaluator_agrees(rules: list[Json], images: list[Image]) -> None:
    policy = policy_from(rules)
    decisions = evaluate(policy, images, NOW)
    found = {(each.image.digest, each.action.value, each.rule_priority) for each in decisions}
    assert found == slow_evaluator(policy, images)
    assert len(found) == len(decisions)


@given(extended_rules, repositories, st.randoms(use_true_random=False))
def test_neither_the_order_of_the_images_nor_of_the_rules_matters(
    rules: list[Json], images: list[Image], random: Random
) -> None:
    first = evaluate(policy_from(rules), images, NOW)
    random.shuffle(images)
    random.shuffle(rules)
    assert evaluate(policy_from(rules), images, NOW) == first


@given(documents(extended_counts, most=1), lone_images)
def test_one_rule_on_what_it_left_finds_nothing_more(rules: list[Json], images: list[Image]) -> None:
    """Of images that no index refers to: the children of an index that went are free at the next run."""
    policy = policy_from(rules)
    gone = digests(evaluate(policy, images, NOW))
    assert evaluate(policy, [image for image in images if image.digest not in gone], NOW) == []


@given(documents(extended_counts, most=1), repositories, st.integers(1, 9))
def test_a_higher_count_number_never_acts_on_more(rules: list[Json], images: list[Image], more: int) -> None:
    [rule] = rules
    selection = rule["selection"]
    assert isinstance(selection, dict)
    generous = {**rule, "selection": {**selection, "countNumber": selection["countNumber"] + more}}
    acted_on = digests(evaluate(policy_from([generous]), images, NOW))
    assert acted_on <= digests(evaluate(policy_from([rule]), images, NOW))


@given(extended_rules, extended_counts, repositories, st.data())
def test_a_rule_that_identifies_no_image_changes_nothing(
    rules: list[Json], count: tuple[Json, Json], images: list[Image], data: st.DataObject
) -> None:
    before = [priority for priority in range(1, 2 * len(rules), 2)]
    selection = {"tagStatus": "tagged", "tagPatternList": ["nobody-has-*"], **count[0]}
    priority = data.draw(st.sampled_from([1] if "'any'" in repr(rules) else before))
    disjoint: Json = {"rulePriority": priority, "selection": selection, "action": count[1]}
    assert evaluate(policy_from([*rules, disjoint]), images, NOW) == evaluate(policy_from(rules), images, NOW)


@given(strict_rules, repositories)
def test_whatever_strict_accepts_means_the_same_in_the_extended_dialect(rules: list[Json], images: list[Image]) -> None:
    text = json.dumps({"rules": rules})
    strict, extended = parse_policy(text), parse_extended_policy(text)
    assert strict == extended
    assert evaluate(strict, images, NOW) == evaluate(extended, images, NOW)


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


@given(st.text("ab*", max_size=8), st.text("abc", max_size=10))
def test_a_pattern_matches_as_the_regular_expression_with_its_meaning(pattern: str, tag: str) -> None:
    expression = ".*".join(map(re.escape, pattern.split("*")))
    assert matches(pattern)(tag) is (re.fullmatch(expression, tag) is not None)


@pytest.mark.parametrize("pattern", ["a*a*a*a*b", "*a*a*a*b", "*aab*aab*aab*aab"])
def test_a_pattern_that_would_stall_a_backtracking_matcher_is_decided(pattern: str) -> None:
    assert not matches(pattern)("a" * 1_000_000)


def test_a_star_matches_across_line_ends_and_case_counts() -> None:
    assert matches("v*1")("v\n1")
    assert not matches("v*")("V1")
