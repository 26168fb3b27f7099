"""Pages of tags and repositories (OCI distribution-spec, "Listing Tags")."""

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from proxy.core.errors import PageInvalid

LARGEST_PAGE = 1000  # ECR refuses more; nobody's memory should follow a number in a query
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


class Page(NamedTuple):
    names: Sequence[str]
    last: str | None  # to ask the next page with; None at the end


def parse_limit(text: str | None) -> int | None:
    """``n`` of a query, at most LARGEST_PAGE; None where it is absent. Raises PageInvalid."""
    if text is None:
        return None
    if _NUMBER.fullmatch(text) is None:
        raise PageInvalid(text)
    return min(int(text), LARGEST_PAGE)


def first_page(names: Sequence[str], size: int) -> Page:
    """Of names in order, one more than fit where there are more."""
    return Page(names[:size], names[size - 1] if len(names) > size else None)


def cut(names: Sequence[str], limit: int | None, last: str | None, upstream_last: str | None) -> Page:
    """One page of what upstream answered. A registry that pages says so, or answers no more than ``limit``; one that
    ignores ``n`` and ``last`` answers everything, and is cut here, in byte order."""
    if limit is None or len(names) <= limit:
        return Page(names, upstream_last)
    behind = sorted(name for name in names if last is None or name > last)
    page = behind[:limit]
    return Page(page, page[-1] if page and len(behind) > limit else None)


def next_link(path: str, limit: int | None, last: str, extra: Sequence[tuple[str, str]] = ()) -> str:
    """The value of a Link header (RFC 8288) that leads to the next page on our own ``path``."""
    query = [*extra, ("last", last)] if limit is None else [*extra, ("n", str(limit)), ("last", last)]
    return f'<{path}?{urlencode(query)}>; rel="next"'
