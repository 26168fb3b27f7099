"""What can be wrong with a lifecycle policy or a list of images: every fault with its place, in ECR's words."""

from collections.abc import Sequence
from dataclasses import dataclass

from proxy.core.errors import RequestFault


@dataclass(frozen=True, slots=True)
class PolicyFault:
    """``index`` counts the rules of the document from 0; it and ``priority`` are None where they are not known."""

    index: int | None
    priority: int | None
    field: str  # a path below the rule, such as "selection.countUnit"; below the document where there is no rule
    reason: str

    def __str__(self) -> str:
        rule = "" if self.index is None else f"rules[{self.index}]"
        known = "" if self.priority is None else f" (rulePriority {self.priority})"
        place = " ".join(part for part in (rule + known, self.field) if part)
        return f"{place}: {self.reason}" if place else self.reason


class PolicyInvalid(RequestFault):
    """Not a policy. ``faults`` has all that is wrong with it, in the order of the document."""

    def __init__(self, faults: Sequence[PolicyFault]) -> None:
        self.faults = tuple(faults)
        super().__init__("Lifecycle policy validation failure: " + "; ".join(map(str, faults)))


class ImagesInvalid(RequestFault):
    """Not a list of images. ``index`` counts from 0 and is None where the whole document is at fault."""

    def __init__(self, index: int | None, field: str, reason: str) -> None:
        self.index = index
        self.field = field
        self.reason = reason
        place = "images" if index is None else f"images[{index}]"
        super().__init__(f"{place}{'.' if field else ''}{field}: {reason}")
