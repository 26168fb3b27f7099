"""What an examination gives: named steps with a verdict, and what to do where one failed."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


class Step(NamedTuple):
    """``subject`` is the upstream's name, or ``host`` for the machine; ``fix`` is empty unless the step failed."""

    subject: str
    name: str
    verdict: Verdict
    detail: str
    fix: str = ""


def healthy(steps: Sequence[Step]) -> bool:
    return all(step.verdict is not Verdict.FAILED for step in steps)
