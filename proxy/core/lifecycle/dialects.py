"""The two forms of a policy: what AWS accepts, and what a cache accepts besides."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from proxy.core.lifecycle.policy import Action, CountType, CountUnit, StorageClass

LONGEST_TEXT: Final = 30_720
MOST_RULES: Final = 50
MOST_WILDCARDS: Final = 4
ARCHIVE_MINIMUM_DAYS: Final = 90


@dataclass(frozen=True, slots=True)
class Dialect:
    """``actions`` has every count type of the dialect, with what may be done to the images it chooses."""

    shortest_text: int  # characters
    actions: Mapping[CountType, tuple[Action, ...]]
    units: tuple[CountUnit, ...]


_BOTH = (Action.EXPIRE, Action.TRANSITION)

STRICT: Final = Dialect(
    shortest_text=100,
    actions=MappingProxyType(
        {
            CountType.IMAGE_COUNT: _BOTH,
            CountType.SINCE_PUSHED: _BOTH,
            CountType.SINCE_PULLED: (Action.TRANSITION,),
            CountType.SINCE_TRANSITIONED: (Action.EXPIRE,),
        }
    ),
    units=(CountUnit.DAYS,),
)
EXTENDED: Final = Dialect(
    shortest_text=0,
    actions=MappingProxyType({**STRICT.actions, CountType.SINCE_PULLED: _BOTH, CountType.TOTAL_SIZE: _BOTH}),
    units=(CountUnit.DAYS, CountUnit.HOURS),
)


def storage_class_of(count_type: CountType) -> StorageClass:
    """The one class that the count type looks at: archived images have no other age than that of their archiving."""
    return StorageClass.ARCHIVE if count_type is CountType.SINCE_TRANSITIONED else StorageClass.STANDARD
