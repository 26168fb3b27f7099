"""Policies that must be refused. Each file begins with the dialects that refuse it and with what they say."""

from pathlib import Path
from typing import NamedTuple

BAD_POLICIES = sorted(Path(__file__).with_name("lifecycle_policies").glob("*.policy"))


class Expected(NamedTuple):
    """A fault line of a bad policy: the index of the rule, its priority, field, a part of the reason; ``-`` is none."""

    rule: str
    priority: str
    field: str
    reason: str


def read_bad_policy(path: Path) -> tuple[list[str], list[Expected], str]:
    head, text = path.read_text().split("---\n", 1)
    dialects, *faults = (line.split(": ", 1)[1] for line in head.splitlines())
    return dialects.split(), [Expected(*fault.split(" | ")) for fault in faults], text.removesuffix("\n")
