"""Pages of tags and repositories (OCI distribution-spec, "Listing Tags").

The query of a link to the next page is opaque (RFC 8288): registries name their place in it by ``last``, ``next_page``,
``nextToken`` and more. So queries are passed on as they are, and only what is ours is put in or taken out.
"""

import re
from collections.abc import Sequence
from heapq import nsmallest
from itertools import chain
from typing import NamedTuple
from urllib.parse import parse_qs, quote, urlencode

from proxy.core.errors import PageInvalid
from proxy.core.steps import Steps

LARGEST_PAGE = 1000  # ECR refuses more; nobody's memory should follow a number in a query
AFTER = "entrepot_after"
"""Our own place within a page that is longer than was asked for. That of a cache upstream, which has the same name, is
kept beside it with an underscore before it."""
_PLACE = re.compile(rf"_*{AFTER}")
_STEP = 10_000  # names that are looked at in one step
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


class Page(NamedTuple):
    names: Sequence[str]
    next_query: str | None  # to ask the next page with; None at the end


def parse_limit(text: str | None) -> int | None:
    """``n`` of a query, at most LARGEST_PAGE; None where it is absent. Raises PageInvalid."""
    if text is None:
        return None
    if _NUMBER.fullmatch(text) is None:
        raise PageInvalid(text)
    return min(int(text), LARGEST_PAGE)


def first_page(names: Sequence[str], size: int) -> Page:
    """Of names in order, one more than fit where there are more."""
    return Page(names[:size], urlencode({"n": size, "last": names[size - 1]}) if len(names) > size else None)


def place_of(query: str) -> str | None:
    """The name behind which the page begins that is asked for, empty for the first; None where only the registry knows
    that made the link."""
    asked = {name: values[0] for name, values in parse_qs(query).items() if name != "n"}
    return asked.pop(AFTER, None) or asked.get("last", "") if asked.keys() <= {AFTER, "last"} else None


def without(query: str, *names: str) -> str:
    """An encoded query without these parameters, all else as it stands."""
    return "&".join(pair for pair in query.split("&") if pair and pair.partition("=")[0] not in names)


def to_upstream(query: str) -> str:
    """What upstream is asked for a client's query: our own place is left out, that of a cache upstream is named as it
    knows it."""
    pairs = without(query, AFTER).split("&")
    return "&".join(pair[1:] if _PLACE.fullmatch(pair.partition("=")[0]) else pair for pair in pairs)


def _from_upstream(query: str) -> str:
    """What a client is to ask with for upstream's own next page."""
    pairs = without(query, "ns").split("&")
    return "&".join(f"_{pair}" if _PLACE.fullmatch(pair.partition("=")[0]) else pair for pair in pairs)


def bounded(query: str, limit: int | None) -> str:
    """An encoded query with ``n=limit`` in place of any other ``n``; unchanged where there is no limit."""
    if limit is None:
        return query
    rest = without(query, "n")
    return f"n={limit}&{rest}" if rest else f"n={limit}"


def cut(names: Sequence[str], limit: int | None, query: str, onward: str | None) -> Steps[Page]:
    """One page of what upstream answered to ``query``, whose own link leads ``onward``. A registry that knows ``n``
    answers no more than ``limit``; what one that ignores it answers is cut here, in byte order."""
    following = None if onward is None else _from_upstream(onward)
    if following is not None and _value(following, "n") is None:
        following = bounded(following, limit)
    after = _value(query, AFTER)
    if limit is None or (after is None and len(names) <= limit):
        return Page(names, following)
    last = _value(query, "last")
    if after is None and last in names:  # it answers what it was asked to leave out
        after = last
    behind: list[str] = []  # no more than are needed, in order
    for start in range(0, len(names), _STEP):
        part = (name for name in names[start : start + _STEP] if after is None or name > after)
        behind = nsmallest(limit + 1, chain(behind, part))
        yield
    page = behind[:limit]
    if len(behind) <= limit:
        return Page(page, following)
    return Page(page, f"{bounded(without(query, AFTER), limit)}&{AFTER}={quote(page[-1], safe='')}")


def _value(query: str, name: str) -> str | None:
    return parse_qs(query).get(name, [None])[0]


def next_link(path: str, query: str, namespace: str | None) -> str:
    """The value of a Link header (RFC 8288) that leads to the next page on our own ``path``."""
    ours = "" if namespace is None else f"&ns={quote(namespace, safe=':')}"
    return f'<{path}?{without(query, "ns")}{ours}>; rel="next"'
