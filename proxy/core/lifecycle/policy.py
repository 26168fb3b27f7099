"""A lifecycle policy as a value. One that exists has passed every rule of its dialect."""

from dataclasses import dataclass
from enum import StrEnum


class TagStatus(StrEnum):
    TAGGED = "tagged"
    UNTAGGED = "untagged"
    ANY = "any"


class StorageClass(StrEnum):
    STANDARD = "standard"
    ARCHIVE = "archive"


class CountType(StrEnum):
    IMAGE_COUNT = "imageCountMoreThan"
    SINCE_PUSHED = "sinceImagePushed"
    SINCE_PULLED = "sinceImagePulled"
    SINCE_TRANSITIONED = "sinceImageTransitioned"
    TOTAL_SIZE = "totalSizeMoreThan"
    """Extended: keep the most recently pulled images while their sizes add up to at most countNumber bytes."""

    @property
    def measures_age(self) -> bool:
        return self in (CountType.SINCE_PUSHED, CountType.SINCE_PULLED, CountType.SINCE_TRANSITIONED)


class CountUnit(StrEnum):
    DAYS = "days"
    HOURS = "hours"
    """Extended."""

    @property
    def seconds(self) -> int:
        return 86_400 if self is CountUnit.DAYS else 3_600


class Action(StrEnum):
    EXPIRE = "expire"
    TRANSITION = "transition"
    """To the archive storage class. A cache has none: it shows the decision and lets nothing go."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which images a rule identifies (status, patterns or prefixes, class) and which of those it chooses (count)."""

    tag_status: TagStatus
    count_type: CountType
    count_number: int  # images, days or hours by ``count_unit``, or bytes
    count_unit: CountUnit | None = None
    patterns: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    storage_class: StorageClass = StorageClass.STANDARD


@dataclass(frozen=True, slots=True)
class Rule:
    priority: int
    selection: Selection
    action: Action
    description: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    rules: tuple[Rule, ...]  # by priority, the lowest number first
