"""The next page, from a Link header (RFC 8288). Pure, and only the query is ever taken from it."""

import re
from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

_LONGEST = 8192
_LINK = re.compile(r"<([^<>]*)>([^<>]*)")
_NEXT = re.compile(r";[ \t]*rel[ \t]*=[ \t]*(?:\"[ \t]*next[ \t]*\"|next\b)", re.IGNORECASE)


def next_query(lines: Sequence[str]) -> str | None:
    """The query of the first link with rel="next"; None where there is none."""
    for line in lines:
        for reference, parameters in _LINK.findall(line[:_LONGEST]):
            if _NEXT.search(parameters):
                try:
                    query = urlsplit(reference).query
                except ValueError:
                    return None
                return query if query.isascii() and query.isprintable() and " " not in query else None
    return None


def last_of(query: str) -> str | None:
    """The ``last`` parameter, decoded."""
    try:
        return parse_qs(query).get("last", [None])[0]
    except ValueError:
        return None
