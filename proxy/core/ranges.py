"""The Range header: what a client asks for, and what of it will be sent (RFC 9110 section 14)."""

import re
from dataclasses import dataclass

from proxy.core.errors import RangeUnsatisfiable, SeveralRanges
from proxy.core.spans import Span

_ONE = re.compile(r"bytes=[ \t]*([0-9]{0,40})-([0-9]{0,40})[ \t]*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AskedRange:
    """``first-last`` with either end left open; without ``first`` it asks for the last ``last`` bytes."""

    first: int | None
    last: int | None

    def within(self, size: int) -> Span:
        """What to send of a representation of ``size`` bytes. Raises RangeUnsatisfiable."""
        if self.first is None:
            start, end = size - min(self.last or 0, size), size
        else:
            start, end = self.first, size if self.last is None else min(self.last + 1, size)
        if start >= size or start >= end:
            raise RangeUnsatisfiable(size)
        return Span(start, end)


def parse_range(header: str | None) -> AskedRange | None:
    """The range asked for; None where there is none, or one that RFC 9110 14.2 has a server ignore: malformed, or of
    another unit. Raises SeveralRanges: a whole class of lazy pullers takes 400 as "ask for one at a time", and parts
    of a blob in one multipart body serve nobody else."""
    if header is None:
        return None
    if header[:6].lower() == "bytes=" and "," in header:
        raise SeveralRanges()
    match = _ONE.fullmatch(header)
    if match is None or match.group(1) == match.group(2) == "":
        return None
    first, last = (int(text) if text else None for text in match.groups())
    if first is not None and last is not None and last < first:
        return None
    return AskedRange(first, last)
