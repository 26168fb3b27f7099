"""Whether a tag of an ECR repository can move.

Source: Amazon ECR user guide, "Preventing image tags from being overwritten"; API reference, Repository and
ImageTagMutabilityExclusionFilter.
"""

from typing import NamedTuple

from proxy.core.patterns import fits


class TagMutability(NamedTuple):
    """``setting`` as ECR spells it; ``exclusions`` are wildcard filters, in which a star stands for any characters."""

    setting: str
    exclusions: tuple[str, ...] = ()


def is_immutable(mutability: TagMutability, tag: str) -> bool:
    """True only where ECR says that this tag cannot be overwritten; a setting unknown today is taken as mutable."""
    excluded = any(fits(pattern, tag) for pattern in mutability.exclusions)  # ECR allows no "?"
    match mutability.setting:
        case "IMMUTABLE":
            return True
        case "IMMUTABLE_WITH_EXCLUSION":
            return not excluded
        case "MUTABLE_WITH_EXCLUSION":
            return excluded
        case _:
            return False
