"""What goes wrong now when the disk fails, the worst first. A line goes when its kind goes right."""

import fnmatch
from typing import NamedTuple

from tests.disk.faults import SICK, Fault
from tests.disk.findings import Finding, Kind
from tests.disk.injector import Call
from tests.disk.lives import Outcome


class Known(NamedTuple):
    """``faults`` and ``calls`` are patterns: of a fault as it is written, and of the first call that failed."""

    kind: Kind
    faults: tuple[str, ...]
    calls: str
    words: str  # a pattern of what was found
    reason: str

    def covers(self, fault: Fault, outcome: Outcome) -> bool:
        """Is it of this kind of fault?"""
        first = str(outcome.failed[0]) if outcome.failed else ""
        name = str(fault)
        return any(fnmatch.fnmatchcase(name, each) for each in self.faults) and fnmatch.fnmatchcase(first, self.calls)

    def tells(self, finding: Finding) -> bool:
        return finding.kind is self.kind and fnmatch.fnmatchcase(finding.words, self.words)


_HELD_BY_THEN = ("small blob", "join", "hit", "tag confirmed", "share")
_NO_NOTE = tuple(f"{how} from {step} on" for step in _HELD_BY_THEN for how in SICK if Call.WRITE in SICK[how][0])
_SHARED = "a layer of another repository is refused while the catalog cannot note that upstream allows it"
_SWEEP = "a sweep that failed is told for ever: one that works does not take it back"

WRONG: tuple[Known, ...] = (
    Known(Kind.FAILED, _NO_NOTE, "*", "*keeps vanishing from the store*", _SHARED),
    Known(Kind.NOT_HEALED, tuple(f"{how} from start on" for how in SICK), "*", "degraded: removal: *sweep*", _SWEEP),
)


def unknown(fault: Fault, outcome: Outcome) -> list[Finding]:
    """The findings that no line tells of."""
    mine = [known for known in WRONG if known.covers(fault, outcome)]
    return [finding for finding in outcome.findings if not any(known.tells(finding) for known in mine)]


def mended(fault: Fault, outcome: Outcome) -> list[Known]:
    """The lines that say that something is to be found, where nothing was."""
    if outcome.findings:
        return []
    return [known for known in WRONG if known.covers(fault, outcome)]
