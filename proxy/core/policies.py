"""Which lifecycle policy holds for which repository."""

from collections.abc import Sequence
from typing import NamedTuple

from proxy.core.lifecycle import Policy
from proxy.core.names import Repository
from proxy.core.patterns import fits


class Assignment(NamedTuple):
    """One policy and the repositories it is for, as patterns over ``REGISTRY/REPOSITORY``."""

    patterns: tuple[str, ...]
    policy: Policy


def policy_of(assignments: Sequence[Assignment], repository: Repository) -> Policy | None:
    """The first assignment that names the repository holds for it."""
    name = str(repository)
    for assignment in assignments:
        if any(fits(pattern, name) for pattern in assignment.patterns):
            return assignment.policy
    return None
