"""Which policies are accepted, and what is said about the others."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.core.lifecycle import (
    Action,
    CountType,
    CountUnit,
    Policy,
    PolicyInvalid,
    StorageClass,
    TagStatus,
    parse_extended_policy,
    parse_policy,
)
from tests.core.bad_policies import BAD_POLICIES, read_bad_policy

Parser = Callable[[str], Policy]
PARSERS: dict[str, Parser] = {"strict": parse_policy, "extended": parse_extended_policy}
SHIPPED = Path(__file__).parents[2] / "config" / "lifecycle"


def padded(document: object) -> str:
    return json.dumps(document).ljust(100)


def policy_of(**selection: object) -> str:
    action = selection.pop("action", {"type": "expire"})
    return padded({"rules": [{"rulePriority": 1, "selection": selection, "action": action}]})


@pytest.mark.parametrize("path", BAD_POLICIES, ids=lambda path: path.stem)
def test_a_bad_policy_is_refused_with_every_fault_in_its_place(path: Path) -> None:
    dialects, expected, text = read_bad_policy(path)
    for dialect in dialects:
        with pytest.raises(PolicyInvalid) as caught:
            PARSERS[dialect](text)
        found = [(str(f.index), str(f.priority), f.field) for f in caught.value.faults]
        assert [tuple(part.replace("None", "-") or "-" for part in fault) for fault in found] == [
            e[:3] for e in expected
        ]
        for fault, (_, _, field, reason) in zip(caught.value.faults, expected, strict=True):
            assert reason in fault.reason
            assert (field if field != "-" else reason) in str(caught.value)
        assert str(caught.value).startswith("Lifecycle policy validation failure: ")
        assert str(caught.value).isprintable()


def test_there_are_many_bad_policies() -> None:
    assert len(BAD_POLICIES) >= 30


def test_what_only_strict_refuses_is_a_policy_of_the_extended_dialect() -> None:
    strict_only = [text for dialects, _, text in map(read_bad_policy, BAD_POLICIES) if dialects == ["strict"]]
    accepted = [text for text in strict_only if text != '{"rules":[]}']
    assert len(accepted) == 3
    for text in accepted:
        assert parse_extended_policy(text).rules


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
def test_the_text_has_at_most_30720_characters(parse: Parser) -> None:
    text = policy_of(tagStatus="any", countType="imageCountMoreThan", countNumber=9)
    assert parse(text.ljust(30_720))
    with pytest.raises(PolicyInvalid, match="text has 30721 characters"):
        parse(text.ljust(30_721))


def test_fifty_rules_are_accepted_and_come_by_priority_whatever_the_order_and_the_gaps() -> None:
    selection = {"tagStatus": "tagged", "countType": "imageCountMoreThan", "countNumber": 1}
    rules = [
        {"rulePriority": 7 * n, "selection": {**selection, "tagPrefixList": [f"t{n}"]}, "action": {"type": "expire"}}
        for n in range(50, 0, -1)
    ]
    policy = parse_policy(json.dumps({"rules": rules}))
    assert [rule.priority for rule in policy.rules] == [7 * n for n in range(1, 51)]


def test_every_field_of_a_rule_is_read() -> None:
    selection = {"tagStatus": "tagged", "tagPatternList": ["*test*1*2*3", "test*1*2*3*"], "storageClass": "archive"}
    count = {"countType": "sinceImageTransitioned", "countUnit": "days", "countNumber": 90}
    rule = {"rulePriority": 3, "description": "d", "selection": {**selection, **count}, "action": {"type": "expire"}}
    [read] = parse_policy(json.dumps({"rules": [rule]})).rules
    assert (read.priority, read.description, read.action) == (3, "d", Action.EXPIRE)
    assert read.selection.patterns == ("*test*1*2*3", "test*1*2*3*")
    assert (read.selection.tag_status, read.selection.storage_class) == (TagStatus.TAGGED, StorageClass.ARCHIVE)
    assert (read.selection.count_type, read.selection.count_unit) == (CountType.SINCE_TRANSITIONED, CountUnit.DAYS)
    assert (read.selection.count_number, read.selection.prefixes) == (90, ())


def test_the_one_rule_per_selection_holds_within_a_storage_class_only() -> None:
    archived = {
        "storageClass": "archive",
        "countType": "sinceImageTransitioned",
        "countUnit": "days",
        "countNumber": 90,
    }
    counted = {"countType": "imageCountMoreThan", "countNumber": 1}
    expire = {"type": "expire"}
    selections: list[dict[str, object]] = [
        {"tagStatus": "tagged", "tagPatternList": ["v*"], **counted},
        {"tagStatus": "tagged", "tagPatternList": ["v*"], **archived},
        {"tagStatus": "tagged", "tagPrefixList": ["v*"], **counted},
        {"tagStatus": "untagged", **counted},
        {"tagStatus": "untagged", **archived},
        {"tagStatus": "any", **counted},
        {"tagStatus": "any", **archived},
    ]
    rules = [{"rulePriority": n, "selection": each, "action": expire} for n, each in enumerate(selections, 1)]
    assert len(parse_policy(json.dumps({"rules": rules})).rules) == len(selections)


@pytest.mark.parametrize("action", [{"type": "expire"}, {"type": "transition", "targetStorageClass": "archive"}])
@pytest.mark.parametrize(
    "count",
    [
        {"countType": "imageCountMoreThan", "countNumber": 1},
        {"countType": "sinceImagePushed", "countUnit": "days", "countNumber": 1},
        {"countType": "sinceImagePulled", "countUnit": "hours", "countNumber": 1},
        {"countType": "totalSizeMoreThan", "countNumber": 10**12},
    ],
    ids=lambda count: str(count["countType"]),
)
def test_the_extended_dialect_expires_and_transitions_by_any_count(
    count: dict[str, object], action: dict[str, str]
) -> None:
    [rule] = parse_extended_policy(policy_of(tagStatus="any", action=action, **count)).rules
    assert rule.action == action["type"]


def test_every_policy_that_we_ship_is_accepted_by_the_dialect_it_says() -> None:
    paths = sorted(SHIPPED.glob("*.json"))
    assert len(paths) >= 3
    for path in paths:
        text = path.read_text()
        assert len(text) >= 100
        assert parse_extended_policy(text).rules
        if path.name.startswith("cache-"):
            with pytest.raises(PolicyInvalid, match="sinceImagePulled"):
                parse_policy(text)
        else:
            assert parse_policy(text) == parse_extended_policy(text)
