"""Lines of the access log, made in the log's own thread.

What is answered from memory is answered many times alike: such a line is made once, and then only its time and its
client are put in.
"""

from collections.abc import Callable
from typing import NamedTuple

from proxy.core.tables import BoundedTable
from proxy.front.access_log import Line
from proxy.logs import Entry, stamp

_KEPT = 8 << 20  # bytes of lines; one that is forgotten is made anew, at the cost of one slow line
_CLIENT = "~client~"  # no address is written so, and no form of the log writes it otherwise


Logged = Entry | Line
"""All that is written into the log."""


def lines_of(render: Callable[[Entry], str]) -> Callable[[Logged], str]:
    """Makes any line of the log; ``render`` makes those that are no request's. Not to be shared by threads."""
    requests = AccessLines(render)
    return lambda logged: requests(logged) if isinstance(logged, Line) else render(logged)


class _Around(NamedTuple):
    """A line without its time and its client."""

    before: str
    between: str
    behind: str


class AccessLines:
    """``render`` makes any line of the log. Not to be shared by threads."""

    def __init__(self, render: Callable[[Entry], str]) -> None:
        self._render = render
        self._known: BoundedTable[tuple[object, ...], _Around] = BoundedTable(_KEPT)
        self._millisecond = -1
        self._stamp = ""

    def __call__(self, line: Line) -> str:
        if line.seconds or line.fault:
            return self._render((line.at, "info", line.fields()))
        millisecond = int(line.at * 1000)
        if millisecond != self._millisecond:
            self._millisecond, self._stamp = millisecond, stamp(line.at)
        alike = line[2:6]  # the header block, status, traffic, bytes sent
        before, between, behind = self._known.peek(alike) or self._made(line, alike)
        return f"{before}{self._stamp}{between}{line.client}{behind}"

    def _made(self, line: Line, alike: tuple[object, ...]) -> _Around:
        written = self._render((0.0, "info", {**line.fields(), "client": _CLIENT}))
        before, _, rest = written.partition(stamp(0.0))
        between, _, behind = rest.partition(_CLIENT)
        around = _Around(before, between, behind)
        self._known.put(alike, around)
        return around
