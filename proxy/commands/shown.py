"""How things are written for people: sizes, times, tables."""

import time
from collections.abc import Iterable, Sequence

from proxy.admin.messages import ReviewedImage
from proxy.admin.wording import counted, day, lasting, short, size

_MEASURED = 100  # rows that a table's widths are taken from

__all__ = [
    "REVIEW_TITLES",
    "RunningTable",
    "ago",
    "counted",
    "day",
    "lasting",
    "printable",
    "review_row",
    "short",
    "size",
    "table",
]

REVIEW_TITLES = ("REPOSITORY", "IMAGE", "TAGS", "PUSHED", "RULE", "ACTION", "SIZE")


class RunningTable:
    """Printed while its rows come: of however many, only the first are held."""

    def __init__(self, titles: Sequence[str]) -> None:
        self.count = 0
        self._waiting = [tuple(titles)]
        self._widths: list[int] | None = None

    def add(self, row: Sequence[str]) -> None:
        self.count += 1
        self._waiting.append(tuple(map(printable, row)))
        if self._widths is not None or len(self._waiting) > _MEASURED:
            self._print()

    def end(self) -> None:
        """Prints what is held; nothing where there was no row."""
        if self.count:
            self._print()

    def _print(self) -> None:
        if self._widths is None:
            self._widths = _widths(self._waiting)
        for row in self._waiting:
            print(_aligned(row, self._widths))
        self._waiting.clear()


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """All rows at once."""
    shown = RunningTable(titles)
    for row in rows:
        shown.add(row)
    shown.end()


def table_lines(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The same as lines."""
    written = [tuple(titles), *(tuple(map(printable, row)) for row in rows)]
    widths = _widths(written)
    return [_aligned(row, widths) for row in written]


def _widths(rows: Iterable[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def printable(text: str) -> str:
    """Without anything that a terminal takes for an order."""
    return text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)


def ago(moment: float) -> str:
    """How long a moment is past by this machine's clock, and when it was."""
    return f"{lasting(time.time() - moment)} ago ({day(moment)} UTC)"


def review_row(repository: str, image: ReviewedImage) -> Sequence[str]:
    """Under ``REVIEW_TITLES``."""
    return (
        repository,
        short(image.image_digest),
        " ".join(image.image_tags) or "-",
        day(image.image_pushed_at),
        str(image.applied_rule_priority),
        _action(image),
        size(image.image_size_in_bytes),
    )


def _action(image: ReviewedImage) -> str:
    if image.action.type == "TRANSITION":
        return "transition (no effect in a cache)"
    return "stays (pinned or in use)" if image.stays else "expire"
