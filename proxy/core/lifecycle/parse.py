"""Policy text → ``Policy``, or all that is wrong with it at once.

Grammar and rules: Amazon ECR user guide, "Lifecycle policy properties"; lengths: the ECR API's
LifecyclePolicyText. Nothing is corrected or ignored: a policy that AWS would refuse is refused here.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence

from proxy.core.lifecycle.dialects import EXTENDED, LONGEST_TEXT, MOST_RULES, STRICT, Dialect
from proxy.core.lifecycle.documents import read_json
from proxy.core.lifecycle.drafts import Draft, read_draft, rule_of
from proxy.core.lifecycle.faults import PolicyFault, PolicyInvalid
from proxy.core.lifecycle.forms import Form, wrong_type
from proxy.core.lifecycle.policy import Policy, TagStatus


def parse_policy(text: str) -> Policy:
    """The policy, if AWS would accept it. Raises PolicyInvalid with every fault."""
    return _parse(text, STRICT)


def parse_extended_policy(text: str) -> Policy:
    """Whatever AWS accepts, of any length up to its maximum, and besides: ``expire`` by sinceImagePulled (last served),
    ``hours``, and totalSizeMoreThan (bytes). Raises PolicyInvalid with every fault.
    """
    return _parse(text, EXTENDED)


def policy_parser(*, extended: bool) -> Callable[[str], Policy]:
    """The one for policies that are said to be extended, or not."""
    return parse_extended_policy if extended else parse_policy


def _parse(text: str, dialect: Dialect) -> Policy:
    faults: list[PolicyFault] = []
    if not dialect.shortest_text <= len(text) <= LONGEST_TEXT:
        reason = f"text has {len(text)} characters, {dialect.shortest_text} to {LONGEST_TEXT} are allowed"
        faults.append(PolicyFault(None, None, "", reason))
        if len(text) > LONGEST_TEXT:
            raise PolicyInvalid(faults)
    drafts = [read_draft(rule, index, dialect, faults) for index, rule in enumerate(_read_rules(text, faults))]
    faults.extend(_between(drafts))
    if faults:
        raise PolicyInvalid(sorted(faults, key=lambda fault: -1 if fault.index is None else fault.index))
    return Policy(tuple(sorted(map(rule_of, drafts), key=lambda rule: rule.priority)))


def _read_rules(text: str, faults: list[PolicyFault]) -> list[object]:
    def note(field: str, reason: str) -> None:
        faults.append(PolicyFault(None, None, field, reason))

    try:
        form = Form(read_json(text), "", note)
    except ValueError as error:
        note("", f"could not map policy string: {error}")
        return []
    form.allow(("rules",))
    rules = form.member("rules")
    if not isinstance(rules, list):
        if form.given("rules"):
            note("rules", wrong_type(rules, "array"))
        return []
    if not rules:
        note("rules", "array is too short: must have at least 1 elements but instance has 0 elements")
    if len(rules) > MOST_RULES:
        reason = f"must have at most {MOST_RULES} elements but instance has {len(rules)} elements"
        note("rules", f"array is too long: {reason}")
    return rules


def _between(drafts: Sequence[Draft]) -> Iterator[PolicyFault]:
    yield from _priorities_unique(drafts)
    yield from _selections_unique(drafts)
    yield from _any_last(drafts)


def _priorities_unique(drafts: Sequence[Draft]) -> Iterator[PolicyFault]:
    taken: dict[int, int] = {}
    for draft in drafts:
        if draft.priority is not None and (first := taken.setdefault(draft.priority, draft.index)) != draft.index:
            reason = f"rulePriority must be unique, rules[{first}] has the same"
            yield PolicyFault(draft.index, draft.priority, "rulePriority", reason)


def _selections_unique(drafts: Sequence[Draft]) -> Iterator[PolicyFault]:
    taken: dict[Hashable, int] = {}
    for draft in drafts:
        if draft.storage_class is None:
            continue
        for field, wanted, reason in _claims(draft):
            first = taken.setdefault((draft.storage_class, field, wanted), draft.index)
            if first != draft.index:
                yield PolicyFault(
                    draft.index, draft.priority, f"selection.{field}", f"{reason}, as rules[{first}] does"
                )


def _claims(draft: Draft) -> Iterator[tuple[str, Hashable, str]]:
    if draft.tag_status is TagStatus.UNTAGGED:
        yield "tagStatus", draft.tag_status, "only one rule can select untagged images per storage class"
    if draft.tag_status is not TagStatus.TAGGED:
        return
    for field, entries in (("tagPatternList", draft.patterns), ("tagPrefixList", draft.prefixes)):
        if entries is not None:
            yield field, frozenset(entries), "only one rule can select the same tags per storage class"


def _any_last(drafts: Sequence[Draft]) -> Iterator[PolicyFault]:
    ranked = [draft for draft in drafts if draft.priority is not None and draft.storage_class is not None]
    last: dict[Hashable, int] = {}
    for draft in ranked:
        last[draft.storage_class] = max(last.get(draft.storage_class, 0), draft.priority or 0)
    for draft in ranked:
        if draft.tag_status is TagStatus.ANY and draft.priority != last[draft.storage_class]:
            reason = "the tagStatus=ANY rule must have lowest priority per storage class"
            yield PolicyFault(draft.index, draft.priority, "selection.tagStatus", f"{reason}: the highest rulePriority")
