"""What the headers of an answer say: which bytes these are, where the next page is, how long to wait. Pure."""

import re
import zlib
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import urlsplit

LONGEST_WAIT = 60.0  # seconds that a Retry-After is honoured at most
_LONGEST_LINE = 16384  # characters of a Link header that are read
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
_LINK = re.compile(r"<([^<>]*)>([^<>]*)")
_NEXT = re.compile(r";[ \t]*rel[ \t]*=[ \t]*(?:\"[ \t]*next[ \t]*\"|next\b)", re.IGNORECASE)


_GZIP = b"\x1f\x8b"


class ContentRange(NamedTuple):
    """Bytes of the whole: the first and the last that the body holds, and how many there are, None where not said."""

    start: int
    last: int
    total: int | None


def parse_content_range(text: str | None) -> ContentRange | None:
    """RFC 9110 section 14.4; None for what is missing, malformed or contradicts itself."""
    match = _CONTENT_RANGE.fullmatch(text.strip()) if text else None
    if match is None:
        return None
    start, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if start > last or (total is not None and last >= total):
        return None
    return ContentRange(start, last, total)


def parse_length(text: str | None) -> int | None:
    """Content-Length in bytes (RFC 9110 section 8.6); None for what is missing or no number."""
    return int(text) if text and text.isascii() and text.isdigit() else None


def next_query(lines: Sequence[str]) -> str | None:
    """The query of the first Link with rel="next" (RFC 8288), and nothing else of it; None where there is none."""
    for line in lines:
        for reference, parameters in _LINK.findall(line[:_LONGEST_LINE]):
            if _NEXT.search(parameters):
                try:
                    query = urlsplit(reference).query
                except ValueError:
                    return None
                return query if query.isascii() and query.isprintable() and " " not in query else None
    return None


def decoded(body: bytes, encoding: str | None, most: int) -> bytes:
    """The content of a body that is JSON by right. What a header names is believed where the bytes agree: registries
    name encodings on bytes that have none. Raises ValueError for gzip that is broken, or holds more than ``most``
    bytes."""
    if "gzip" not in (encoding or "").lower() or not body.startswith(_GZIP):
        return body
    unpacking = zlib.decompressobj(wbits=31)
    try:
        content = unpacking.decompress(body, most + 1)
    except zlib.error as cause:
        raise ValueError("it is not the gzip that it is said to be") from cause
    if len(content) > most or not unpacking.eof:
        raise ValueError("its gzip is cut off, or too large")
    return content


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds to wait, from 1 to 60; ``now`` is since the epoch. None where the header is missing or unreadable
    (RFC 9110 section 10.2.3: seconds or a date)."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        wait = float(text[:12])
    else:
        try:
            wait = parsedate_to_datetime(text).timestamp() - now
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    return min(max(wait, 1.0), LONGEST_WAIT)
