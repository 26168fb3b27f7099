"""Bytes as they go, on a terminal; nothing elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from proxy.admin.warm_messages import WarmState

Advance = Callable[[int], None]

_NAME = 40  # characters of what a bar is for


@contextmanager
def moving(words: str, total: int | None) -> Iterator[Advance]:
    """``total`` in bytes, None where nobody knows."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(words, total=total)
        yield lambda count: progress.advance(task, count)


@contextmanager
def warming() -> Iterator["WarmBars"]:
    """A bar in total and one for each blob, until this ends; lines are kept until then where there are bars."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=console, disable=not console.is_terminal)
    bars = WarmBars(progress)
    try:
        with progress:
            yield bars
    finally:
        bars.end()


class WarmBars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._total = progress.add_task("looking up names", total=None)
        self._blobs: dict[str, TaskID] = {}
        self._lines: list[str] = []

    def show(self, state: WarmState) -> None:
        """As it is now."""
        images = f"images {state.images_done}/{state.images}" if state.images else "looking up names"
        self._progress.update(self._total, description=images, total=state.total or None, completed=state.done)
        arriving = {blob.digest for blob in state.arriving}
        for digest in self._blobs.keys() - arriving:
            self._progress.remove_task(self._blobs.pop(digest))
        for blob in state.arriving:
            if blob.digest not in self._blobs:
                words = f"  {blob.repository_name}"[:_NAME]
                self._blobs[blob.digest] = self._progress.add_task(words, total=blob.size)
            self._progress.update(self._blobs[blob.digest], completed=blob.received, total=blob.size)

    def say(self, line: str) -> None:
        """A line of the result."""
        if self._progress.disable:
            print(line, flush=True)
        else:
            self._lines.append(line)

    def end(self) -> None:
        """What was kept is said."""
        for line in self._lines:
            print(line)
