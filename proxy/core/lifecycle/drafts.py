"""A rule as written: each field that could be read, and the checks of what the fields say together."""

from dataclasses import dataclass
from functools import partial

from proxy.core.lifecycle.dialects import ARCHIVE_MINIMUM_DAYS, MOST_WILDCARDS, Dialect, storage_class_of
from proxy.core.lifecycle.documents import Members
from proxy.core.lifecycle.faults import PolicyFault
from proxy.core.lifecycle.forms import Form
from proxy.core.lifecycle.policy import Action, CountType, CountUnit, Rule, Selection, StorageClass, TagStatus

_LISTS = ("tagPatternList", "tagPrefixList")


@dataclass(frozen=True, slots=True)
class Draft:
    """None is a field that is absent or wrong, and that no check may speak of twice."""

    index: int
    priority: int | None
    description: str | None
    tag_status: TagStatus | None
    patterns: tuple[str, ...] | None
    prefixes: tuple[str, ...] | None
    storage_class: StorageClass | None
    count_type: CountType | None
    count_unit: CountUnit | None
    count_number: int | None
    action: Action | None


def read_draft(document: object, index: int, dialect: Dialect, faults: list[PolicyFault]) -> Draft:
    """Whatever can be read of the rule; what is wrong with it is added to ``faults``."""
    form = Form(document, "", partial(_add, faults, index, _priority_of(document)))
    form.allow(("rulePriority", "selection", "action"), ("description",))
    required, optional = ("tagStatus", "countType", "countNumber"), (*_LISTS, "storageClass", "countUnit")
    selection = form.section("selection", required, optional)
    action = form.section("action", ("type",), ("targetStorageClass",))
    draft = Draft(
        index=index,
        priority=form.positive("rulePriority"),
        description=form.text("description"),
        tag_status=selection.choice("tagStatus", tuple(TagStatus)),
        patterns=selection.texts("tagPatternList"),
        prefixes=selection.texts("tagPrefixList"),
        storage_class=_storage_class(selection),
        count_type=selection.choice("countType", tuple(dialect.actions)),
        count_unit=selection.choice("countUnit", dialect.units),
        count_number=selection.positive("countNumber"),
        action=action.choice("type", tuple(Action)),
    )
    _check_tags(draft, selection)
    _check_count(draft, selection)
    _check_action(draft, action, dialect)
    return draft


def rule_of(draft: Draft) -> Rule:
    """The rule of a draft without faults."""
    assert draft.priority is not None and draft.action is not None and draft.storage_class is not None
    assert draft.tag_status is not None and draft.count_type is not None and draft.count_number is not None
    selection = Selection(
        tag_status=draft.tag_status,
        count_type=draft.count_type,
        count_number=draft.count_number,
        count_unit=draft.count_unit,
        patterns=draft.patterns or (),
        prefixes=draft.prefixes or (),
        storage_class=draft.storage_class,
    )
    return Rule(draft.priority, selection, draft.action, draft.description or "")


def _add(faults: list[PolicyFault], index: int, priority: int | None, field: str, reason: str) -> None:
    faults.append(PolicyFault(index, priority, field, reason))


def _priority_of(document: object) -> int | None:
    value = document.get("rulePriority") if isinstance(document, Members) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 1 else None


def _storage_class(selection: Form) -> StorageClass | None:
    if not selection.given("storageClass"):
        return StorageClass.STANDARD
    return selection.choice("storageClass", tuple(StorageClass))


def _check_tags(draft: Draft, selection: Form) -> None:
    given = [name for name in _LISTS if selection.given(name)]
    if draft.tag_status is TagStatus.TAGGED and not given:
        selection.note("tagPatternList", "must specify tagPrefixList or tagPatternList when tagStatus is TAGGED")
    if draft.tag_status in (TagStatus.UNTAGGED, TagStatus.ANY):
        for name in given:
            selection.note(name, f"must not be specified when tagStatus is {draft.tag_status.upper()}")
    elif len(given) > 1:
        selection.note("tagPatternList", "only one of tagPrefixList and tagPatternList may be specified")
    for position, pattern in enumerate(draft.patterns or ()):
        if pattern.count("*") > MOST_WILDCARDS:
            reason = f"at most {MOST_WILDCARDS} wildcards (*) per string, found {pattern.count('*')}"
            selection.note(f"tagPatternList[{position}]", reason)


def _check_count(draft: Draft, selection: Form) -> None:
    kind = draft.count_type
    if kind is None:
        return
    if kind.measures_age and not selection.given("countUnit"):
        selection.note("countUnit", f'object has missing required properties (["countUnit"]) for countType {kind}')
    if not kind.measures_age and selection.given("countUnit"):
        selection.note("countUnit", f"must not be specified when countType is {kind}")
    wanted = storage_class_of(kind)
    if draft.storage_class is not None and draft.storage_class is not wanted:
        selection.note("storageClass", f"countType {kind} requires storageClass {wanted}")
    if kind is CountType.SINCE_TRANSITIONED and draft.count_unit is not None and draft.count_number is not None:
        least = ARCHIVE_MINIMUM_DAYS * CountUnit.DAYS.seconds // draft.count_unit.seconds
        if draft.count_number < least:
            reason = f"numeric instance is lower than the required minimum (minimum: {least}, found: "
            selection.note("countNumber", f"{reason}{draft.count_number}) for countType {kind}")


def _check_action(draft: Draft, action: Form, dialect: Dialect) -> None:
    if draft.action is not None and draft.count_type is not None:
        allowed = dialect.actions[draft.count_type]
        if draft.action not in allowed:
            action.note("type", f"countType {draft.count_type} allows only action type {', '.join(allowed)}")
    target = action.choice("targetStorageClass", (StorageClass.ARCHIVE,))
    if draft.action is Action.TRANSITION and not action.given("targetStorageClass"):
        reason = 'object has missing required properties (["targetStorageClass"]) for action type transition'
        action.note("targetStorageClass", reason)
    if draft.action is Action.EXPIRE and target is not None:
        action.note("targetStorageClass", "must not be specified when action type is expire")
