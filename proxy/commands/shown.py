"""Tables for people: of what goes, and why."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from proxy.config import format_size

Event = dict[str, Any]

_DIGEST = 19  # "sha256:" and twelve digits


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """On a terminal as wide as that, elsewhere as wide as it needs."""
    console = Console(markup=False, highlight=False)
    shown = Table(*titles, box=None, pad_edge=False)
    for row in rows:
        shown.add_row(*row)
    if not console.is_terminal:
        console.width = 1000
    console.print(shown)


def short(digest: str) -> str:
    return digest[:_DIGEST]


def day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def size(count: int) -> str:
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f}{name}"
    return format_size(count)


def decisions(results: Iterable[tuple[str, Event]]) -> None:
    """Rows of ECR's preview form, by repository."""
    table(
        ["REPOSITORY", "IMAGE", "TAGS", "PUSHED", "RULE", "ACTION", "SIZE"],
        (
            (
                repository,
                short(result["imageDigest"]),
                " ".join(result["imageTags"]) or "-",
                day(result["imagePushedAt"]),
                str(result["appliedRulePriority"]),
                _action(result),
                size(result.get("imageSizeInBytes", 0)),
            )
            for repository, result in results
        ),
    )


def _action(result: Event) -> str:
    if result["action"]["type"] == "TRANSITION":
        return "transition (no effect in a cache)"
    return "stays (pinned or in use)" if result.get("stays") else "expire"
