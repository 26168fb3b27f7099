"""Pages of tags, each kind of registry in its own way (OCI distribution-spec, "Listing Tags")."""

import base64
from dataclasses import dataclass
from urllib.parse import parse_qs

from tests.zoo.manners import Cursor, Paging, query_of


@dataclass(frozen=True)
class PageOfTags:
    tags: list[str]
    link: str | None = None
    refused: tuple[int, str] | None = None  # status and code
    shown: tuple[str, ...] = ()


def pages(paging: Paging, name: str, tags: list[str], query: str, url: str) -> PageOfTags:
    """The page that ``query`` asks for. ``url`` is where the registry itself is."""
    asked = {key: values[0] for key, values in parse_qs(query).items()}
    if not paging.obeys_n:
        return PageOfTags(tags, shown=("everything at once",))
    size = int(asked["n"]) if "n" in asked else paging.usual
    if size is not None and paging.most is not None and size > paging.most:
        if paging.refused is not None:
            return PageOfTags([], refused=paging.refused, shown=("large page refused",))
        size = paging.most
    start = _start(paging.cursor, tags, asked)
    end = len(tags) if size is None else min(start + size, len(tags))
    if end == len(tags):
        return PageOfTags(tags[start:end])
    parameters = {**paging.beside, **_cursor(paging.cursor, tags, end)}
    given = query_of(n=size if paging.keeps_n else None, **parameters)
    return PageOfTags(tags[start:end], paging.link.format(name=name, query=given, url=url), shown=("paged",))


def _start(cursor: Cursor, tags: list[str], asked: dict[str, str]) -> int:
    match cursor:
        case Cursor.LAST:
            return sum(tag <= asked["last"] for tag in tags) if "last" in asked else 0
        case Cursor.NUMBER:
            return int(asked.get("last", "0"))
        case Cursor.OPAQUE_LAST:
            return _unsealed(asked.get("last"))
        case Cursor.NEXT_PAGE | Cursor.NEXT_TOKEN:
            return _unsealed(asked.get(cursor.value))


def _cursor(cursor: Cursor, tags: list[str], end: int) -> dict[str, str]:
    match cursor:
        case Cursor.LAST:
            return {"last": tags[end - 1]}
        case Cursor.NUMBER:
            return {"last": str(end)}
        case Cursor.OPAQUE_LAST:
            return {"last": _sealed(end)}
        case Cursor.NEXT_PAGE | Cursor.NEXT_TOKEN:
            return {cursor.value: _sealed(end)}


def _sealed(position: int) -> str:
    """A token of some length, with characters that a query must encode."""
    return base64.b64encode(f"gAAAAABg1i7jwRsgyD_X_wcMmj11T0waURK8w2MpuKG3a5B5C:{position}+/=?&".encode()).decode()


def _unsealed(token: str | None) -> int:
    if token is None:
        return 0
    return int(base64.b64decode(token).decode().rpartition(":")[2].partition("+")[0])
