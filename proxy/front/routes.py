"""From method, target and headers to one value that says what is asked, or to the fault that it is.

Nobody below looks at a URL again. Paths: OCI distribution-spec, "Endpoints"; repository names contain slashes, so the
operation is read from the right.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from proxy.core.errors import MethodUnsupported, NameInvalid, RequestMalformed, RouteUnknown, UpstreamUnknown
from proxy.core.names import DOCKER_HUB, Digest, Repository, UpstreamNames, names_a_host, parse_name, parse_reference
from proxy.core.operations import BlobPull, CatalogList, ManifestPull, Operation, Ping, ReferrersList, TagList
from proxy.core.paging import bounded, parse_limit, without
from proxy.core.ranges import parse_range

_LAST_LIMIT = 1024
_CONTENT = re.compile(
    r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|referrers)/(?P<reference>[^/]+)", re.ASCII | re.DOTALL
)
_TAGS = re.compile(r"/v2/(?P<name>.+)/tags/list", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Asked:
    """The meaning of a request. Known by its identity: what is remembered of it hangs on this object."""

    method: str  # GET or HEAD
    operation: Operation
    path: str  # the client's own, for links back to us
    namespace: str | None  # the ``ns`` of the query, where it names an upstream


def parse(method: str, target: str, headers: Mapping[str, str], names: UpstreamNames) -> Asked:
    """``headers`` by their names in lower case. Raises MethodUnsupported, RequestMalformed, RouteUnknown,
    UpstreamUnknown, NameInvalid, TagInvalid, DigestInvalid, PageInvalid and SeveralRanges."""
    if method not in {"GET", "HEAD"}:
        raise MethodUnsupported(method)
    raw_path, _, raw_query = target.partition("?")
    if "%2f" in raw_path.lower():
        raise NameInvalid(raw_path)
    try:
        path = unquote(raw_path, errors="strict")
        query = dict(parse_qsl(raw_query, keep_blank_values=True, errors="strict", max_num_fields=32))
    except ValueError:
        raise RequestMalformed("the target is not percent-encoded UTF-8, or has more than 32 parameters") from None
    if not (raw_query.isascii() and raw_query.isprintable()):
        raise RequestMalformed("the query is not percent-encoded")
    operation = _operation(path, query, raw_query, headers, names)
    namespace = query.get("ns")
    return Asked(method, operation, raw_path, namespace if namespace and names.find(namespace) else None)


def _operation(
    path: str, query: dict[str, str], raw_query: str, headers: Mapping[str, str], names: UpstreamNames
) -> Operation:
    """Lists pass the query on as it came, but for what is ours."""
    if path in {"/v2/", "/v2"}:
        return Ping()
    if path == "/v2/_catalog":
        return CatalogList(parse_limit(query.get("n")), _last(query))
    if found := _TAGS.fullmatch(path):
        limit = parse_limit(query.get("n"))
        return TagList(_repository(found["name"], query, names), limit, bounded(without(raw_query, "ns"), limit))
    if found := _CONTENT.fullmatch(path):
        repository = _repository(found["name"], query, names)
        match found["kind"]:
            case "manifests":
                return ManifestPull(repository, parse_reference(found["reference"]), headers.get("if-none-match"))
            case "blobs":
                return _blob(repository, Digest.parse(found["reference"]), headers)
            case _:
                return ReferrersList(repository, Digest.parse(found["reference"]), without(raw_query, "ns"))
    raise RouteUnknown(path)


def _last(query: dict[str, str]) -> str | None:
    """The place in a list of ours; those of registries are their own affair."""
    last = query.get("last")
    if last is not None and (len(last) > _LAST_LIMIT or not last.isprintable()):
        raise RequestMalformed(f"last is longer than {_LAST_LIMIT} characters, or not printable")
    return last or None


def _blob(repository: Repository, digest: Digest, headers: Mapping[str, str]) -> BlobPull:
    written = headers.get("range")
    asked = parse_range(written) if written is not None else None
    condition = headers.get("if-range")
    if condition is not None and condition.strip() != f'"{digest}"':
        asked = None
    return BlobPull(repository, digest, asked, headers.get("if-none-match"))


def _repository(name: str, query: dict[str, str], names: UpstreamNames) -> Repository:
    """Three address forms, in this order: ``?ns=``, a first path component that names an upstream, the default. A
    registry that no upstream covers is nobody's: its private names do not go to the default."""
    first, _, rest = name.partition("/")
    asked = query.get("ns")
    if asked is not None:
        upstream = names.find(asked)
        if upstream is None:
            raise UpstreamUnknown(asked)
        if rest and names.find(first) == upstream:
            name = rest  # named twice by clients that send both forms
    elif rest and (upstream := names.find(first)) is not None:
        name = rest
    elif names.default is None or ":" in first or (rest and names_a_host(first)):
        raise UpstreamUnknown(first)
    else:
        upstream = names.default
    if upstream == DOCKER_HUB and "/" not in name:
        name = f"library/{name}"
    return Repository(upstream, parse_name(name))
