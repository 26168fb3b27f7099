"""What is particular about a registry, as a value: how it challenges, where its bytes come from, how it pages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import urlencode

NOTHING: Mapping[str, str] = {}
HTML = {"Content-Type": "text/html; charset=utf-8"}


class Ranges(Enum):
    """What becomes of a Range."""

    SERVED = "served"
    IGNORED = "ignored"  # 200, everything
    OPEN_END_IGNORED = "open end ignored"  # only a range with both ends is served
    SINGLE_BYTE_REFUSED = "single byte refused"  # 416 to bytes=0-0
    REFUSED_400 = "refused with 400"
    REFUSED_403 = "refused with 403"


@dataclass(frozen=True)
class Bearer:
    """A token server. ``form`` is what its JSON says besides the token, which stands under each of ``names``."""

    path: str  # of the realm
    service: str
    scope: str | None = "repository:{name}:pull"  # in the challenge
    elsewhere: bool = False  # on a host of its own
    names: tuple[str, ...] = ("token",)
    form: Mapping[str, Any] = field(default_factory=dict)
    user: tuple[str, str] | None = None  # whose tokens it gives; anybody's where None
    beside: str = ""  # another challenge in the same line


@dataclass(frozen=True)
class Basic:
    """User and password with each request."""

    realm: str
    user: tuple[str, str]


@dataclass(frozen=True)
class Storage:
    """A host of its own for blobs, whose URLs are signed for one GET each, and which takes no Authorization."""

    status: int = 307
    head: int = 403  # what a HEAD of a URL that is signed for GET gets
    ranges: Ranges = Ranges.SERVED
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "binary/octet-stream"})


class Cursor(Enum):
    """How a link names the next page."""

    LAST = "last"  # the last tag of this one
    NUMBER = "number"  # ``last`` is how many came before
    OPAQUE_LAST = "opaque last"  # ``last`` is a token
    NEXT_PAGE = "next_page"  # a token under that name
    NEXT_TOKEN = "nextToken"


@dataclass(frozen=True)
class Paging:
    usual: int | None = None  # tags of a page where ``n`` is not given; None: all
    most: int | None = None  # the largest ``n``
    refused: tuple[int, str] | None = None  # status and code for a larger one; it is cut down where None
    cursor: Cursor = Cursor.LAST
    link: str = '</v2/{name}/tags/list?{query}>; rel="next"'
    keeps_n: bool = True  # the link says ``n`` too
    beside: Mapping[str, str] = field(default_factory=dict)  # further parameters of the link
    obeys_n: bool = True  # False: everything at once, whatever is asked


@dataclass(frozen=True)
class Manners:
    """``name`` is what clients write; ``home`` stands before the names of repositories there."""

    name: str
    auth: Bearer | Basic | None = None
    storage: Storage | None = None
    ranges: Ranges = Ranges.SERVED  # of the registry itself
    paging: Paging = Paging()
    referrers: bool = False
    base: str = ""  # a path below which its /v2/ is
    home: str = "team"
    head_manifest: int = 200
    head_blob: int = 200
    digest_on_get: bool = True
    manifest_type: str | None = "exact"  # that of the manifest, or the one that is sent instead; None: none
    headers: Mapping[str, str] = field(
        default_factory=lambda: {"Docker-Distribution-Api-Version": "registry/2.0"}
    )  # of each answer
    json_type: str = "application/json"
    refuses: tuple[int, ...] = (403,)  # what a client hears of a private repository
    closes: bool = False  # the connection, after each answer


def query_of(**parameters: object) -> str:
    return urlencode({key: value for key, value in parameters.items() if value is not None})
