"""Which tags of a repository are meant: by a glob, by a range of versions, and of those the newest.

Versions are those of semver.org, with or without a ``v`` before them; ranges are npm's (``^1.27``, ``>=1.26 <2``, node
semver's README, "Ranges"): a pre-release is in a range only where that names one of the same version. A tag of fewer
numbers (``1.27``, ``3``) moves and is no version.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import nodesemver  # type: ignore[import-untyped]  # it has none

from proxy.core.patterns import fits
from proxy.core.steps import Steps

LONGEST = 256  # characters of a glob or a range
_STEP = 50  # tags that are looked at in one step; a version costs some 60 µs
_GLOB = re.compile(r"[A-Za-z0-9_.*?-]+", re.ASCII)
_VERSION = re.compile(r"v?[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}(?:[-+.].*)?", re.ASCII)
_NUMBERS = re.compile(r"([0-9]+)")
_RANGE = re.compile(r"[A-Za-z0-9 .^~<>=|*+-]+", re.ASCII)


class TagChoice(NamedTuple):
    """``newest`` is how many, None for all. Where there is a glob and a range, the version is what the one star of the
    glob stands for: ``*-alpine`` with ``^1.27`` means ``1.27.3-alpine``."""

    glob: str | None = None
    semver: str | None = None
    newest: int | None = None

    def demand_good(self) -> None:
        """Raises ValueError with advice."""
        if self.glob is None and self.semver is None:
            raise ValueError("needs a glob or a semver range")
        if self.glob is not None and (len(self.glob) > LONGEST or _GLOB.fullmatch(self.glob) is None):
            raise ValueError("not a glob over tags: write a part of a tag with * and ?, such as v1.*")
        if self.semver is not None and not _is_range(self.semver):
            raise ValueError("not a range of versions: write it as npm does, such as ^1.27, ~1.27.1 or >=1.26 <2")
        if self.glob is not None and self.semver is not None and (self.glob.count("*") != 1 or "?" in self.glob):
            raise ValueError("with semver the glob has one star, which stands for the version, such as *-alpine")

    def __str__(self) -> str:
        words = " with ".join(part for part in (self.glob, self.semver) if part is not None)
        return words if self.newest is None else f"{words}, the newest {self.newest}"


def chosen(choice: TagChoice, tags: Sequence[str]) -> Steps[list[str]]:
    """Those that are meant, the newest first: by version, or without a range by name with numbers as numbers."""
    if choice.semver is None:
        glob = choice.glob or "*"
        found = yield from _fitting(glob, tags)
        found.sort(key=_natural, reverse=True)
    else:
        found = yield from _in_range(choice.glob or "*", choice.semver, tags)
    return found[: choice.newest]


def _fitting(glob: str, tags: Sequence[str]) -> Steps[list[str]]:
    found = []
    for place, tag in enumerate(tags, 1):
        if fits(glob, tag):
            found.append(tag)
        if not place % _STEP:
            yield
    return found


def _in_range(glob: str, written: str, tags: Sequence[str]) -> Steps[list[str]]:
    meant = nodesemver.make_range(written, False)
    before, _, behind = glob.partition("*")
    found = []
    for place, tag in enumerate(tags, 1):
        text = tag[len(before) : len(tag) - len(behind)]
        if tag == f"{before}{text}{behind}" and _VERSION.fullmatch(text):
            version = _version(text)
            if version is not None and meant.test(version):
                found.append((_Sortable(version), tag))
        if not place % _STEP:
            yield
    found.sort(key=lambda each: each[0], reverse=True)
    return [tag for _, tag in found]


class _Sortable:
    """A version as it is sorted."""

    __slots__ = ("version",)

    def __init__(self, version: nodesemver.SemVer) -> None:
        self.version = version

    def __lt__(self, other: "_Sortable") -> bool:
        return bool(self.version.compare(other.version) < 0)


def _version(text: str) -> nodesemver.SemVer | None:
    try:
        return nodesemver.semver(text.removeprefix("v"), False)
    except ValueError:
        return None


def _is_range(written: str) -> bool:
    if len(written) > LONGEST or _RANGE.fullmatch(written) is None or not written.strip():
        return False
    try:
        nodesemver.make_range(written, False)
    except (ValueError, TypeError, AttributeError):
        return False
    return True


def _natural(tag: str) -> list[tuple[int, int, str]]:
    """``build-10`` comes behind ``build-9``."""
    parts = _NUMBERS.split(tag)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]
