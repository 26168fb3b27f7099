"""What is wrong, the worst first, each with what to do."""

from typing import Any

import pytest

from proxy.admin.messages import ReloadResult
from proxy.admin.report import (
    CacheReport,
    LifecycleReport,
    ScrubReport,
    Status,
    TlsReport,
    TokenReport,
    UpstreamReport,
    WarmReport,
)
from proxy.admin.troubles import troubles_of

NOW = 1_700_000_000.0


def status(**changes: Any) -> Status:
    well = Status(
        version="1",
        uptime_seconds=1.0,
        cache=CacheReport(committed_bytes=0, reserved_bytes=0, soft_limit_bytes=1, hard_limit_bytes=1),
        fills={},
        evicted_bytes=0,
        lifecycle=LifecycleReport(),
        scrub=ScrubReport(contents=0, size=0, bad=0),
        pins=0,
        connections=0,
        requests_active=0,
        outcomes={},
        upstreams={},
        aws_tokens={},
        immutable_tags_moved={},
    )
    return well.model_copy(update=changes)


def test_all_well_is_no_trouble() -> None:
    calm = UpstreamReport(requests=9, bytes=9, rate_limit=200, rate_limit_remaining=20)
    tls = TlsReport(certificate_ends_at=NOW + 30 * 86_400, handshakes={}, files_refused=0)
    assert troubles_of(status(upstreams={"docker.io": calm}, tls=tls), NOW) == []


def test_what_holds_everything_comes_first_and_each_says_what_to_do() -> None:
    degraded = {"job eviction": "failed", "credentials of ghcr.io": "gone", "clock": "early", "store": "full"}
    found = troubles_of(status(degraded=degraded), NOW)
    assert [each.what for each in found] == ["store", "clock", "credentials of ghcr.io", "job eviction"]
    assert all(each.advice for each in found)


@pytest.mark.parametrize(
    ("changes", "what", "words"),
    [
        ({"state": "stopping"}, "state", "readiness is withdrawn"),
        ({"aws_tokens": {"a": TokenReport(calls=1, failures=1, trouble="AccessDenied")}}, "AWS token of a", "Access"),
        (
            {"upstreams": {"q": UpstreamReport(requests=1, bytes=0, closed_off=1, last_fault="no route")}},
            "upstream q",
            "not asked for now: no route",
        ),
        (
            {"upstreams": {"q": UpstreamReport(requests=1, bytes=0, rate_limit=100, rate_limit_remaining=9)}},
            "quota of q",
            "9 of 100 requests are left",
        ),
        ({"tls": TlsReport(certificate_ends_at=NOW + 7200, handshakes={}, files_refused=0)}, "tls", "ends in 2 hours"),
        ({"reload": ReloadResult(at=NOW, refused="line 3")}, "reload", "line 3"),
        ({"scrub": ScrubReport(contents=1, size=1, bad=1)}, "disk", "1 content went bad"),
        ({"warm": WarmReport(failed=1, failures=("a:1: denied",))}, "not warmed", "a:1: denied"),
        ({"immutable_tags_moved": {"r/a:1": "sha256:0"}}, "tag moved", "r/a:1, declared immutable"),
        ({"degraded": {"something new": "of a later version"}}, "something new", "of a later version"),
    ],
)
def test_whatever_is_wrong_is_told(changes: dict[str, Any], what: str, words: str) -> None:
    [trouble] = troubles_of(status(**changes), NOW)
    assert trouble.what == what
    assert words in trouble.words
