"""The one table that turns a kind of fault into status and OCI code, and the body that says so.

Codes: OCI distribution-spec "Error Codes"; RANGE_INVALID, PAGINATION_NUMBER_INVALID, TAG_INVALID, UNAVAILABLE and
UNKNOWN are those of the distribution registry, which clients know too.
"""

import json
from collections.abc import Iterator
from typing import NamedTuple

from proxy.core import errors

_LONGEST_REASON = 500  # characters: an AWS refusal with both its ARNs


class Row(NamedTuple):
    status: int
    code: str


TABLE: dict[type[errors.Fault], Row] = {
    errors.NameInvalid: Row(400, "NAME_INVALID"),
    errors.TagInvalid: Row(400, "TAG_INVALID"),
    errors.DigestInvalid: Row(400, "DIGEST_INVALID"),
    errors.PageInvalid: Row(400, "PAGINATION_NUMBER_INVALID"),
    errors.RangeUnsatisfiable: Row(416, "RANGE_INVALID"),
    errors.SeveralRanges: Row(400, "UNSUPPORTED"),
    errors.MethodUnsupported: Row(405, "UNSUPPORTED"),
    errors.VersionUnsupported: Row(505, "UNSUPPORTED"),
    errors.BodyRefused: Row(413, "SIZE_INVALID"),
    errors.RequestMalformed: Row(400, "UNSUPPORTED"),
    errors.RouteUnknown: Row(404, "UNSUPPORTED"),
    errors.UpstreamUnknown: Row(404, "NAME_UNKNOWN"),
    errors.NameUnknown: Row(404, "NAME_UNKNOWN"),
    errors.ManifestUnknown: Row(404, "MANIFEST_UNKNOWN"),
    errors.BlobUnknown: Row(404, "BLOB_UNKNOWN"),
    errors.ReferrersUnsupported: Row(404, "UNSUPPORTED"),
    errors.UpstreamUnreachable: Row(502, "UNAVAILABLE"),
    errors.UpstreamTimeout: Row(504, "UNAVAILABLE"),
    errors.UpstreamFailed: Row(502, "UNAVAILABLE"),
    errors.RateLimited: Row(429, "TOOMANYREQUESTS"),
    errors.CredentialsFailed: Row(502, "UNAVAILABLE"),
    # Never 401: a client would take it as our own challenge and send us what it has for the upstream.
    errors.UpstreamRefused: Row(403, "DENIED"),
    errors.UpstreamBroken: Row(502, "UNAVAILABLE"),
    errors.WrongBytes: Row(502, "UNAVAILABLE"),
    errors.Overloaded: Row(503, "UNAVAILABLE"),
    errors.NoSpace: Row(503, "UNAVAILABLE"),
    errors.StoreFailed: Row(500, "UNKNOWN"),
    errors.ContentMissing: Row(500, "UNKNOWN"),
}


def row(fault: errors.Fault) -> Row:
    return TABLE.get(type(fault), Row(500, "UNKNOWN"))


def body(fault: errors.Fault) -> bytes:
    """OCI JSON of at most about 1 KiB."""
    text = str(fault)[:1000]
    return json.dumps({"errors": [{"code": row(fault).code, "message": text, "detail": None}]}).encode()


def reason(fault: errors.Fault) -> str:
    """For the status line: printable ASCII, at most about 500 characters."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in str(fault)[:_LONGEST_REASON])


def headers(fault: errors.Fault) -> Iterator[tuple[str, str]]:
    """What belongs to the kind besides the body."""
    match fault:
        case errors.MethodUnsupported():
            yield "Allow", "GET, HEAD"
        case errors.RangeUnsatisfiable():
            yield "Content-Range", f"bytes */{fault.size}"
        case errors.RateLimited() | errors.Overloaded():
            yield "Retry-After", str(max(1, round(fault.retry_after)))
