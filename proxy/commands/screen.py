"""A screen that is drawn again and again, until a person stops it: on a terminal in its place, elsewhere one after the
other."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from proxy.admin.client import AdminFailed, AdminRefused
from proxy.commands.session import STOPPED, WRONG, stop

Interval = Annotated[
    float, typer.Option("--interval", "-i", min=0.2, max=3600, help="Seconds between two screens.", metavar="SECONDS")
]


def watched(screen: Callable[[], Sequence[str]], interval: float) -> NoReturn:
    """``screen`` makes its lines anew each time. A proxy that does not answer is a screen too: it may come back."""
    try:
        with _drawing() as draw:
            while True:
                try:
                    lines = screen()
                except AdminRefused as refused:
                    stop(WRONG, str(refused))
                except AdminFailed as failed:
                    lines = [str(failed)]
                draw(lines)
                time.sleep(interval)
    except KeyboardInterrupt:
        raise typer.Exit(STOPPED) from None


@contextmanager
def _drawing() -> Iterator[Callable[[Sequence[str]], None]]:
    console = Console()
    if not console.is_terminal:
        yield lambda lines: print("\n".join(lines), end="\n\n", flush=True)
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        # What does not fit is cut off, so that the first lines stay where they are.
        yield lambda lines: live.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)
