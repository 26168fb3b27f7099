"""Every kind of fault has its row, and every row a code that clients know."""

import json
from collections.abc import Iterator

import pytest

from proxy.core import errors
from proxy.core.names import Repository, Tag
from proxy.core.operations import ManifestPull
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


PULL = ManifestPull(Repository("docker.io", "library/app"), Tag("v1"), None)
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
    fault = errors.NameInvalid("x\r\n\x1b[31m" * 1000)
    body = faults.body(fault, faults.told(fault, None), "0123")
    assert len(body) < 1200
    [error] = json.loads(body)["errors"]
    assert error["message"].isprintable()
    assert error["detail"] == {"request": "0123"}


def test_the_reason_is_fit_for_a_status_line() -> None:
    reason = faults.reason("größer\r\nSet-Cookie: x\x1b[31m" + "x" * 1000, "0123")
    assert reason.isascii()
    assert reason.isprintable()
    assert len(reason) <= 500 + len(" (request 0123)")
    assert reason.startswith("gr??er??Set-Cookie: x?[31mx")
    assert reason.endswith(" (request 0123)")


def test_the_status_line_says_why() -> None:
    """Behind the usual words, so that who looks for those finds them."""
    reply = replies.fault(errors.ManifestUnknown("gone"), PULL, "0123")
    line = replies.head(reply, b"Date: x\r\n", None, True, False).partition(b"\r\n")[0]
    assert line == b"HTTP/1.1 404 Not Found: docker.io does not have library/app:v1 (request 0123)"


SECRET = "canary"
ABOUT_THE_REQUEST = errors.RequestFault | errors.RouteUnknown | errors.UpstreamUnknown | errors.LoopDetected


@pytest.mark.parametrize("kind", [kind for kind in KINDS if faults.TABLE[kind].words is not None])
def test_what_the_operator_reads_no_client_does(kind: type[errors.Fault]) -> None:
    """Whatever a fault is made with."""
    fault = kind.__new__(kind, SECRET)
    fault.__dict__.update(upstream=SECRET, origin=SECRET, retry_after=7.0)
    assert SECRET in str(fault)
    for asked in (PULL, None):
        reply = replies.fault(fault, asked, "0123")
        assert isinstance(reply.content, bytes)
        assert SECRET not in f"{reply.headers}{reply.content.decode()}{reply.reason}"


def test_a_fault_speaks_for_itself_only_where_it_is_about_the_request() -> None:
    for kind, row in faults.TABLE.items():
        assert (row.words is None) == issubclass(kind, ABOUT_THE_REQUEST), kind


def test_a_client_reads_what_failed_and_why_and_what_to_do() -> None:
    fault = errors.UpstreamRefused("docker.io", f"{SECRET} says no", errors.Hint.ASKED_ANONYMOUSLY)
    assert faults.told(errors.explained(fault, "v1 is not held here"), PULL) == (
        "docker.io refused library/app:v1 to this cache: it was asked without credentials; v1 is not held here; "
        "whoever runs this cache finds more in its log"
    )
