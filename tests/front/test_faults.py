"""Every kind of fault has its row, and every row a code that clients know."""

import json
from collections.abc import Iterator

import pytest

from proxy.core import errors
from proxy.front import faults, replies

SPEC_CODES = {
    "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED",
    "UNSUPPORTED", "TOOMANYREQUESTS",
}  # fmt: skip
DISTRIBUTION_CODES = {"RANGE_INVALID", "PAGINATION_NUMBER_INVALID", "TAG_INVALID", "UNAVAILABLE", "UNKNOWN"}


def leaves(kind: type[errors.Fault]) -> Iterator[type[errors.Fault]]:
    below = kind.__subclasses__()
    if not below:
        yield kind
    for sub in below:
        yield from leaves(sub)


KINDS = sorted(
    (kind for kind in leaves(errors.Fault) if kind.__module__ == errors.__name__), key=lambda kind: kind.__name__
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_row(kind: type[errors.Fault]) -> None:
    row = faults.TABLE[kind]
    assert row.code in SPEC_CODES | DISTRIBUTION_CODES
    assert 400 <= row.status <= 599


def test_blame_shows_in_the_status() -> None:
    for kind, row in faults.TABLE.items():
        if kind is errors.VersionUnsupported:
            assert row.status == 505, "the one fault of a request that HTTP itself counts among the server's"
        elif issubclass(kind, errors.RequestFault):
            assert row.status < 500, kind
        elif issubclass(kind, errors.Absent):
            assert row.status == 404, kind
        elif issubclass(kind, errors.OwnFault):
            assert row.status >= 500, kind
        assert row.status != 401, "a challenge of ours would make clients send us what they have for the upstream"


def test_our_own_overload_is_503_with_a_time_to_wait() -> None:
    fault = errors.Overloaded("full", retry_after=0.2)
    assert faults.row(fault).status == 503
    assert dict(faults.headers(fault)) == {"Retry-After": "1"}


def test_a_hostile_name_neither_floods_nor_forges_the_answer() -> None:
    body = faults.body(errors.NameInvalid("x\r\n\x1b[31m" * 1000))
    assert len(body) < 1200
    message = json.loads(body)["errors"][0]["message"]
    assert message.isprintable()


def test_the_reason_is_fit_for_a_status_line() -> None:
    reason = faults.reason(errors.UpstreamRefused("ecr", "größer\r\nSet-Cookie: x\x1b[31m" + "x" * 1000))
    assert reason.isascii()
    assert reason.isprintable()
    assert len(reason) <= 500
    assert reason.startswith("ecr: gr??er??Set-Cookie: x?[31mx")


def test_the_status_line_says_why() -> None:
    """Behind the usual words, so that who looks for those finds them."""
    reply = replies.fault(errors.ManifestUnknown("docker.io does not have library/app:v1"))
    line = replies.head(reply, b"Date: x\r\n", None, True, False).partition(b"\r\n")[0]
    assert line == b"HTTP/1.1 404 Not Found: docker.io does not have library/app:v1"
