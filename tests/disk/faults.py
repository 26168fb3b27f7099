"""Which faults there are: one call, or a disk that is sick from that call on."""

from collections.abc import Iterable
from typing import NamedTuple

from tests.disk.injector import FOR_GOOD, Call, Seen

START, STOP, RESTART = "start", "stop", "restart"
"""Steps beside those of the day: on an empty folder, at its end, and on one with content."""

ERRORS = ("ENOSPC", "EIO", "EROFS", "EDQUOT", "ENOENT")

_ALL = tuple(call for call in Call if call not in (Call.LOCK, Call.MAP))  # locks and maps ask no disk

SICK: dict[str, tuple[tuple[Call, ...], str]] = {
    "full": ((Call.WRITE, Call.CREATE, Call.MKDIR), "ENOSPC"),
    "over quota": ((Call.WRITE, Call.CREATE, Call.MKDIR), "EDQUOT"),
    "read-only": (_ALL, "EROFS"),
    "broken": (_ALL, "EIO"),
    "gone": ((Call.CREATE, Call.MKDIR, Call.RENAME, Call.OPEN), "ENOENT"),
}
"""What a disk refuses while it is sick."""


class Fault(NamedTuple):
    """From the ``nth`` of these calls in a step on so many fail."""

    step: str
    calls: tuple[Call, ...]
    error: str
    nth: int = 1
    times: int = 1

    @classmethod
    def sick(cls, step: str, how: str) -> "Fault":
        """A disk that is sick from that step on, until the day is over."""
        return cls(step, *SICK[how], 1, FOR_GOOD)

    @property
    def lasts(self) -> bool:
        return self.times > 1

    def __str__(self) -> str:
        if self.lasts:
            return f"{next(how for how, of in SICK.items() if of == (self.calls, self.error))} from {self.step} on"
        return f"{self.step}: {'+'.join(call.value for call in self.calls)} {self.nth} {self.error}"


def points(journal: dict[str, list[Seen]], call: Call) -> list[tuple[str, int]]:
    """Where in a day such a call is made: the step, and which of the step's it is."""
    return [
        (step, number + 1)
        for step, seen in journal.items()
        for number in range(sum(each.call is call for each in seen))
    ]


def sick_days(steps: Iterable[str]) -> list[Fault]:
    """Every sickness from each of these steps on."""
    return [Fault.sick(step, how) for step in steps for how in SICK]
