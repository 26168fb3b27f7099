"""Which images a policy acts on. All rules look at the repository as it is; an image is acted on by one rule or none.

An image that meets a rule's tag criteria is that rule's: no later rule of the storage class acts on it, even where the
first keeps it; but later rules still count it. Neither counted nor chosen are the children of an index in the list
(their index protects them) and artifacts with a subject: these go with their subject, and stay while it is kept or not
in the list. Amazon ECR user guide, "Lifecycle policy evaluation rules" and "Examples of lifecycle policies".
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from proxy.core.lifecycle.images import Image
from proxy.core.lifecycle.patterns import TagsTest, identifies
from proxy.core.lifecycle.policy import Action, CountType, Policy, Rule, Selection, StorageClass

Choose = Callable[[Sequence[Image], float], Iterable[Image]]
"""Of the identified images, newest first, those that the count criteria are about, at a time."""


class Decision(NamedTuple):
    image: Image
    action: Action
    rule_priority: int


class _Step(NamedTuple):
    rule: Rule
    identifies: TagsTest
    choose: Choose


def evaluate(policy: Policy, images: Iterable[Image], now: float) -> list[Decision]:
    """What is to be done in one repository at ``now`` (epoch seconds), by priority, then oldest push first. The order
    of ``images`` is of no matter: of equal times, the lower digest counts as the newer.

    Raises ValueError if the images are of several repositories.
    """
    return _evaluate(_steps(policy), list(images), now)


def evaluate_all(policy: Policy, repositories: Iterable[Iterable[Image]], now: float) -> Iterator[list[Decision]]:
    """The decisions of each repository in turn; no more than one is held at a time."""
    steps = _steps(policy)
    for images in repositories:
        yield _evaluate(steps, list(images), now)


def by_repository(images: Iterable[Image]) -> Iterator[list[Image]]:
    """The images of a mixed list, one repository after the other by name."""
    shelves: defaultdict[str, list[Image]] = defaultdict(list)
    for image in images:
        shelves[image.repository].append(image)
    for name in sorted(shelves):
        yield shelves.pop(name)


def _evaluate(steps: Sequence[_Step], images: list[Image], now: float) -> list[Decision]:
    if len({image.repository for image in images}) > 1:
        raise ValueError("the images of one repository at a time")
    children = {digest for image in images for digest in image.references}
    free = [image for image in images if image.digest not in children]
    decisions: list[Decision] = []
    for storage_class in StorageClass:
        own = [step for step in steps if step.rule.selection.storage_class is storage_class]
        eviction_class = [image for image in free if image.storage_class is storage_class and not image.subject]
        if own and eviction_class:
            decisions += _decide(own, eviction_class, now)
    decisions += _followers(decisions, free)
    return sorted(decisions, key=_report_order)


def _decide(steps: Sequence[_Step], eviction_class: list[Image], now: float) -> Iterator[Decision]:
    eviction_class.sort(key=_digest)
    eviction_class.sort(key=_pushed, reverse=True)
    claimed: set[str] = set()
    for rule, meets, choose in steps:
        identified = [image for image in eviction_class if meets(image.tags)]
        for image in choose(identified, now):
            if image.digest not in claimed:
                yield Decision(image, rule.action, rule.priority)
        claimed.update(map(_digest, identified))


def _followers(decisions: Iterable[Decision], free: Iterable[Image]) -> list[Decision]:
    """Artifacts whose subject is acted on, and theirs in turn. What is in the archive is not moved there again."""
    artifacts: defaultdict[str, list[Image]] = defaultdict(list)
    for image in free:
        if image.subject:
            artifacts[image.subject].append(image)
    found: list[Decision] = []
    front = list(decisions) if artifacts else []
    while front:
        subject, action, priority = front.pop()
        for artifact in artifacts.get(subject.digest, ()):
            follower = Decision(artifact, action, priority)
            front.append(follower)
            if action is Action.EXPIRE or artifact.storage_class is StorageClass.STANDARD:
                found.append(follower)
    return found


def _steps(policy: Policy) -> list[_Step]:
    return [_Step(rule, identifies(rule.selection), _choice(rule.selection)) for rule in policy.rules]


def _choice(selection: Selection) -> Choose:
    number, unit = selection.count_number, selection.count_unit
    age_limit = number * unit.seconds if unit else 0
    match selection.count_type:
        case CountType.IMAGE_COUNT:
            return lambda identified, now: identified[number:]
        case CountType.TOTAL_SIZE:
            return lambda identified, now: _beyond_size(identified, number)
        case CountType.SINCE_PUSHED:
            return lambda identified, now: [image for image in identified if now - _pushed(image) > age_limit]
        case CountType.SINCE_PULLED:
            return lambda identified, now: [image for image in identified if now - _pulled(image) > age_limit]
        case CountType.SINCE_TRANSITIONED:
            return lambda identified, now: [image for image in identified if now - _archived(image, now) > age_limit]


def _beyond_size(identified: Iterable[Image], limit: int) -> list[Image]:
    """From the image on with which the most recently pulled add up to more than ``limit`` bytes."""
    recent = sorted(identified, key=_pulled, reverse=True)
    sums = accumulate(image.size for image in recent)
    return [image for image, total in zip(recent, sums, strict=True) if total > limit]


def _digest(image: Image) -> str:
    return image.digest


def _pushed(image: Image) -> float:
    return image.pushed_at if image.activated_at is None else image.activated_at


def _pulled(image: Image) -> float:
    """The last pull or, where it is later than that or there was none, the restoration; else the push."""
    if image.pulled_at is None:
        return _pushed(image)
    return image.pulled_at if image.activated_at is None else max(image.pulled_at, image.activated_at)


def _archived(image: Image, now: float) -> float:
    """An archived image of which nobody knows since when is as good as archived now."""
    return now if image.archived_at is None else image.archived_at


def _report_order(decision: Decision) -> tuple[int, float, str]:
    return decision.rule_priority, decision.image.pushed_at, decision.image.digest
