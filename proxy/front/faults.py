"""The one table that turns a kind of fault into status, OCI code and what the client reads.

A client is told what failed, why and what to do, in words of ours that name nothing but what it asked for; the fault's
own sentence is the operator's, and stands in the log under the same request id.

Codes: OCI distribution-spec "Error Codes"; RANGE_INVALID, PAGINATION_NUMBER_INVALID, TAG_INVALID, UNAVAILABLE and
UNKNOWN are those of the distribution registry, which clients know too.
"""

import json
from collections.abc import Iterator
from typing import NamedTuple

from proxy.core import errors
from proxy.core.operations import BlobPull, ManifestPull, Operation, ReferrersList, TagList

_LONGEST = 1000  # characters of a message
_LONGEST_REASON = 500  # of a status line


class Row(NamedTuple):
    """``words`` say what failed, None where the fault's own sentence is about the client's request alone; ``advice``
    says what to do. Both may hold ``{upstream}``, ``{thing}`` and ``{seconds}``."""

    status: int
    code: str
    words: str | None = None
    advice: str = ""


_LATER = "try again later"
_LOG = "whoever runs this cache finds more in its log"
_MISSING = "{upstream} does not have {thing}"

TABLE: dict[type[errors.Fault], Row] = {
    errors.NameInvalid: Row(400, "NAME_INVALID"),
    errors.TagInvalid: Row(400, "TAG_INVALID"),
    errors.DigestInvalid: Row(400, "DIGEST_INVALID"),
    errors.PageInvalid: Row(400, "PAGINATION_NUMBER_INVALID"),
    errors.RangeUnsatisfiable: Row(416, "RANGE_INVALID"),
    errors.SeveralRanges: Row(400, "UNSUPPORTED"),
    errors.HostUnknown: Row(421, "UNSUPPORTED"),
    errors.MethodUnsupported: Row(405, "UNSUPPORTED"),
    errors.VersionUnsupported: Row(505, "UNSUPPORTED"),
    errors.BodyRefused: Row(413, "SIZE_INVALID"),
    errors.RequestMalformed: Row(400, "UNSUPPORTED"),
    errors.LoopDetected: Row(508, "UNSUPPORTED"),
    errors.RouteUnknown: Row(404, "UNSUPPORTED"),
    errors.UpstreamUnknown: Row(404, "NAME_UNKNOWN"),
    errors.NameUnknown: Row(404, "NAME_UNKNOWN", _MISSING),
    errors.ManifestUnknown: Row(404, "MANIFEST_UNKNOWN", _MISSING),
    errors.BlobUnknown: Row(404, "BLOB_UNKNOWN", _MISSING),
    errors.ReferrersUnsupported: Row(404, "UNSUPPORTED", "{upstream} has no referrers API"),
    errors.UpstreamUnreachable: Row(502, "UNAVAILABLE", "{upstream} cannot be reached for {thing}", _LATER),
    errors.UpstreamOffline: Row(
        404, "NAME_UNKNOWN", "{upstream} is offline by configuration, so {thing} is not fetched"
    ),
    errors.UpstreamLoops: Row(
        508,
        "UNAVAILABLE",
        "{thing} of {upstream} is asked for in a circle: the url of an upstream leads back to a cache that asks it",
        _LOG,
    ),
    errors.UpstreamTimeout: Row(504, "UNAVAILABLE", "{upstream} did not answer {thing} in time", _LATER),
    errors.UpstreamFailed: Row(502, "UNAVAILABLE", "{upstream} fails at {thing}", _LATER),
    errors.RateLimited: Row(
        429,
        "TOOMANYREQUESTS",
        "{upstream} limits the requests of this cache",
        "{thing} may be asked again in {seconds} s",
    ),
    errors.CredentialsFailed: Row(502, "UNAVAILABLE", "this cache cannot use its login for {upstream}", _LOG),
    # Never 401: a client would take it as our own challenge and send us what it has for the upstream.
    errors.UpstreamRefused: Row(403, "DENIED", "{upstream} refused {thing} to this cache", _LOG),
    errors.UpstreamBroken: Row(502, "UNAVAILABLE", "{upstream} answered {thing} as no registry should", _LOG),
    errors.WrongBytes: Row(502, "UNAVAILABLE", "{upstream} sent wrong bytes for {thing}", _LATER),
    errors.Overloaded: Row(503, "UNAVAILABLE", "this cache has too much to do", "try again in {seconds} s"),
    errors.NoSpace: Row(503, "UNAVAILABLE", "this cache has no room for {thing}", _LATER),
    errors.StoreFailed: Row(500, "UNKNOWN", "this cache failed at {thing}", _LOG),
    errors.ContentMissing: Row(500, "UNKNOWN", "this cache failed at {thing}", _LOG),
}


def row(fault: errors.Fault) -> Row:
    return TABLE.get(type(fault), TABLE[errors.StoreFailed])


def told(fault: errors.Fault, asked: Operation | None) -> str:
    """What the client reads, of at most 1,000 characters: what failed and why, and what to do."""
    words, advice = row(fault)[2:]
    if words is None:
        return str(fault)[:_LONGEST]
    why = f"{words}: {fault.hint.value}" if fault.hint is not None else words
    repository = asked.repository if asked is not None else None
    facts = {
        "upstream": repository.upstream if repository is not None else "the registry",
        "thing": _thing(asked),
        "seconds": max(1, round(getattr(fault, "retry_after", 1.0))),
    }
    return "; ".join(filter(None, (why.format(**facts), fault.added, advice.format(**facts))))[:_LONGEST]


def body(fault: errors.Fault, text: str, request: str) -> bytes:
    """OCI JSON, whose ``detail`` is free (distribution-spec "Error Codes")."""
    detail = {"request": request} if request else None
    return json.dumps({"errors": [{"code": row(fault).code, "message": text, "detail": detail}]}).encode()


def reason(text: str, request: str) -> str:
    """For the status line: printable ASCII, at most about 500 characters."""
    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in text[:_LONGEST_REASON])
    return f"{plain} (request {request})" if request else plain


def headers(fault: errors.Fault) -> Iterator[tuple[str, str]]:
    """What belongs to the kind besides the body."""
    match fault:
        case errors.MethodUnsupported():
            yield "Allow", "GET, HEAD"
        case errors.RangeUnsatisfiable():
            yield "Content-Range", f"bytes */{fault.size}"
        case errors.RateLimited() | errors.Overloaded():
            yield "Retry-After", str(max(1, round(fault.retry_after)))
        case errors.UpstreamOffline():
            yield "Cache-Status", "entrepot; detail=offline"


def _thing(asked: Operation | None) -> str:
    """As the client named it."""
    match asked:
        case ManifestPull() | BlobPull():
            reference = asked.reference if isinstance(asked, ManifestPull) else asked.digest
            return f"{asked.repository.name}{'@' if ':' in reference else ':'}{reference}"
        case TagList():
            return f"the tags of {asked.repository.name}"
        case ReferrersList():
            return f"the referrers of {asked.repository.name}@{asked.digest}"
        case _:
            return "this request"
