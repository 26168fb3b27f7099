"""Pure rooms as tables: status to fault, breaker, media types, links, content ranges, token answers."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import errors
from proxy.core.errors import afresh
from proxy.core.manifests import OCI_INDEX as INDEX
from proxy.core.manifests import OCI_MANIFEST as MANIFEST
from proxy.core.manifests import ManifestInvalid, read_manifest
from proxy.core.steps import at_once
from proxy.core.tables import Tables
from proxy.upstream.fault_table import Rejection, error_code, fault_of, first_error
from proxy.upstream.headers import ContentRange, decoded, next_query, parse_content_range, retry_after
from proxy.upstream.health import Breaker, Outages, RetryBudget, open_breakers
from proxy.upstream.message import Kind
from proxy.upstream.tokens import LONGEST_LIFE, UNSTATED_LIFE, Token, parse_token
from proxy.upstream.transfer import Throughput

UP = "https://up.test"


@pytest.mark.parametrize(
    ("kind", "status", "code", "at_home", "fault"),
    [
        (Kind.MANIFEST, 404, None, True, errors.ManifestUnknown),
        (Kind.MANIFEST, 404, "NAME_UNKNOWN", True, errors.NameUnknown),
        (Kind.MANIFEST, 404, None, False, errors.ManifestUnknown),
        (Kind.BLOB, 404, "BLOB_UNKNOWN", True, errors.BlobUnknown),
        (Kind.BLOB, 404, None, True, errors.BlobUnknown),
        (Kind.BLOB, 404, None, False, errors.UpstreamBroken),
        (Kind.BLOB, 404, "BLOB_UNKNOWN", False, errors.BlobUnknown),
        (Kind.BLOB, 416, None, True, errors.UpstreamBroken),
        (Kind.TAGS, 404, None, True, errors.NameUnknown),
        (Kind.REFERRERS, 404, None, True, errors.ReferrersUnsupported),
        (Kind.REFERRERS, 405, None, True, errors.ReferrersUnsupported),
        (Kind.REFERRERS, 400, None, True, errors.ReferrersUnsupported),
        (Kind.REFERRERS, 403, None, True, errors.UpstreamRefused),
        (Kind.REFERRERS, 500, None, True, errors.UpstreamFailed),
        (Kind.BLOB, 401, "UNAUTHORIZED", True, errors.UpstreamRefused),
        (Kind.BLOB, 403, "DENIED", True, errors.UpstreamRefused),
        (Kind.BLOB, 403, None, False, errors.UpstreamBroken),
        (Kind.MANIFEST, 400, None, True, errors.UpstreamBroken),
        (Kind.MANIFEST, 408, None, True, errors.UpstreamTimeout),
        (Kind.MANIFEST, 429, None, True, errors.RateLimited),
        (Kind.MANIFEST, 500, None, True, errors.UpstreamFailed),
        (Kind.MANIFEST, 599, None, False, errors.UpstreamFailed),
    ],
)
def test_each_answer_has_its_fault(
    kind: Kind, status: int, code: str | None, at_home: bool, fault: type[errors.Fault]
) -> None:
    found = fault_of("up", kind, "a/b:c", Rejection(status, code, (), None, at_home))
    assert type(found) is fault
    assert "up" in str(found)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"errors":[{"code":"DENIED"}]}', "DENIED"),
        (b'{"errors":[{"code":"toomanyrequests"}]}', "TOOMANYREQUESTS"),
        (b'{"errors":[]}', None),
        (b'{"errors":{}}', None),
        (b'{"errors":[{"code":7}]}', None),
        (b'{"errors":[{"code":"A\\nB"}]}', None),
        (b'{"errors":[null]}', None),
        (b"[1]", None),
        (b"<html>", None),
        (b"", None),
        (b"[" * 60_000, None),
        (b"\xff\xfe", None),
        (b'{"errors":[{"code":"DENIED"}],"x":[' + b"{}," * 1000 + b"{}]}", None),
    ],
)
def test_only_an_oci_error_has_a_code(body: bytes, code: str | None) -> None:
    assert error_code(first_error(body)) == code


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7),
        ("0", 1),
        ("999999999999999999", 60),
        ("Wed, 21 Oct 2015 07:28:20 GMT", 20),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 1),
        ("Wed, 21 Oct 2099 07:28:20 GMT", 60),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("Wed, 99 Oct 2015 07:28:20 GMT", None),
        ("1.5", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_capped(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, now=1445412480.0) == seconds


@given(st.text(max_size=60))
def test_no_retry_after_breaks_us(header: str) -> None:
    wait = retry_after(header, now=0.0)
    assert wait is None or 1 <= wait <= 60


def test_a_fault_raised_afresh_is_the_same_but_not_the_same_object() -> None:
    first = errors.RateLimited("up", "why", 7.0)
    again = afresh(first)
    assert (type(again), str(again), again.retry_after, again.upstream) == (type(first), str(first), 7.0, "up")
    assert again is not first


def test_a_breaker_opens_after_a_row_of_outages_and_lets_one_probe_through_every_five_seconds() -> None:
    health, outage = Breaker(5, 5), errors.UpstreamFailed("up", "it answered 500")
    for number in range(4):
        health.failed(outage, f"app{number}", 97.5)
        assert health.closed_off(97.5) is None
    health.failed(outage, "app4", 100.0)
    assert str(health.closed_off(104.9)) == str(outage)
    assert health.closed_off(105.0) is None
    assert health.closed_off(105.0) is not None
    health.failed(outage, "app5", 106.0)
    assert health.closed_off(110.9) is not None
    assert health.closed_off(111.0) is None


def test_what_fails_of_one_thing_closes_off_that_thing_alone() -> None:
    health = Outages("up", Tables(lambda: 0.0))
    for second in range(100):
        health.thing_failed(errors.UpstreamFailed("up", "it answered 500"), "app@sha256:bad", float(second))
        assert health.thing_closed_off("other:1", float(second)) is None
        assert health.host_closed_off(UP, float(second)) is None
    assert health.thing_closed_off("app@sha256:bad", 100.0) is not None
    health.thing_answered("app@sha256:bad")
    assert health.thing_closed_off("app@sha256:bad", 100.0) is None


def test_one_repository_without_answers_closes_off_no_host_and_three_do_and_none_is_named() -> None:
    health = Outages("up", Tables(lambda: 0.0))
    for second in range(100):
        health.silent(UP, "team-a/hangs", float(second))
        assert health.host_closed_off(UP, float(second)) is None
    health.silent(UP, "team-b/app", 100.0)
    health.host_answered(UP)
    for repository in ("team-a/hangs", "team-b/app", "team-c/app"):
        assert health.host_closed_off(UP, 200.0) is None
        health.silent(UP, repository, 200.0)
    closed = health.host_closed_off(UP, 202.0)
    assert isinstance(closed, errors.UpstreamTimeout)
    assert "team" not in str(closed)
    assert health.host_closed_off("https://storage.test", 202.0) is None


def test_connections_that_cannot_be_made_count_one_by_one_and_not_within_two_seconds() -> None:
    health, outage = Outages("up", Tables(lambda: 0.0)), errors.UpstreamUnreachable("up", "refused", UP)
    for _ in range(50):
        health.unconnected(outage, UP, 100.0)
    assert health.host_closed_off(UP, 101.9) is None
    assert health.host_closed_off(UP, 102.0) is not None


def test_what_is_closed_off_is_counted_by_upstream_and_reach_without_a_probe() -> None:
    tables = Tables(lambda: 0.0)
    health, other = Outages("up", tables), Outages("other", tables)
    assert open_breakers(tables, 0.0) == {}
    for second in (0.0, 3.0):
        health.thing_failed(errors.UpstreamFailed("up", "it answered 500"), "app@sha256:bad", second)
    health.thing_failed(errors.UpstreamFailed("up", "it answered 500"), "app@sha256:once", 3.0)
    other.limited(UP, 30.0, 3.0)
    for _ in range(2):
        assert open_breakers(tables, 9.0) == {("up", "thing"): 1, ("other", "host"): 1}
    assert health.thing_closed_off("app@sha256:bad", 9.0) is None, "the probe was not taken"
    assert open_breakers(tables, 60.0) == {("up", "thing"): 1}


def test_what_is_known_of_one_upstream_says_nothing_about_another_on_the_same_host() -> None:
    tables = Tables(lambda: 0.0)
    health, other = Outages("up", tables), Outages("other", tables)
    health.limited(UP, 30.0, 0.0)
    assert health.host_closed_off(UP, 1.0) is not None
    assert other.host_closed_off(UP, 1.0) is None


def test_429_closes_off_until_its_time_and_says_how_long() -> None:
    health = Breaker(5, 5)
    health.limited("up", 30.0, 100.0)
    closed = health.closed_off(110.0)
    assert isinstance(closed, errors.RateLimited)
    assert closed.retry_after == 20.0
    assert health.closed_off(130.0) is None


def test_429_without_advice_doubles_to_a_minute() -> None:
    health, now, spells = Breaker(5, 5), 0.0, []
    for _ in range(9):
        spell = health.limited("up", None, now).retry_after
        spells.append(spell)
        now += spell
    assert spells == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_retries_are_a_tenth_of_the_requests_after_the_burst() -> None:
    budget = RetryBudget()
    burst = sum(budget.take() for _ in range(150))
    taken = 0
    for _ in range(200):
        budget.request()
        taken += budget.take()
    assert burst == 100
    assert 19 <= taken <= 20


@pytest.mark.parametrize(
    ("content", "header", "expected"),
    [
        ({"mediaType": MANIFEST}, "application/json", MANIFEST),
        ({"mediaType": MANIFEST}, INDEX, MANIFEST),
        ({"mediaType": MANIFEST}, None, MANIFEST),
        ({"manifests": []}, f"{INDEX}; charset=utf-8", INDEX),
        ({"manifests": []}, "text/plain; charset=utf-8", INDEX),
        ({"manifests": []}, "application/octet-stream", INDEX),
        ({"config": {}, "layers": []}, "application/json", MANIFEST),
        ({"schemaVersion": 1, "fsLayers": []}, None, "application/vnd.docker.distribution.manifest.v1+json"),
        (
            {"schemaVersion": 1, "fsLayers": [], "signatures": []},
            "application/json",
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
        ),
        ({"a": 1}, "application/vnd.custom+json", "application/vnd.custom+json"),
    ],
)
def test_the_media_type_is_what_clients_will_compare(
    content: dict[str, object], header: str | None, expected: str
) -> None:
    assert at_once(read_manifest(json.dumps(content).encode(), header or "")).media_type == expected


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html></html>",
        b"[]",
        b'"x"',
        b"null",
        b"{}",
        b'{"mediaType":"text/html"}',
        b'{"mediaType":"application/x\\r\\nX: y"}',
        b'{"mediaType":7,"layers":[]}',
        b'{"errors":[]}',
        b"[" * 100000,
        b'{"a":' * 100000,
        b"\xff{}",
        b'{"a":' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_manifest_is_refused(raw: bytes) -> None:
    with pytest.raises(ManifestInvalid):
        at_once(read_manifest(raw, "application/json"))


@pytest.mark.parametrize(
    ("lines", "query"),
    [
        ([], None),
        (['</v2/a/tags/list?n=2&last=b>; rel="next"'], "n=2&last=b"),
        (["<https://evil.test/x?last=b>; rel=next"], "last=b"),
        (['<?last=a%2Fb>; title="x"; rel="next"'], "last=a%2Fb"),
        (['</prev?x>; rel="prev", </next?y>; rel="next"'], "y"),
        (["</a?x>; rel=prev", "</b?z>; REL = NEXT"], "z"),
        (['</a>; rel="next"'], ""),
        (["nonsense"], None),
        (["</a?x y>; rel=next"], None),
        (["<http://[/?last=x>; rel=next"], None),
    ],
)
def test_only_the_query_of_the_next_link_is_taken(lines: list[str], query: str | None) -> None:
    assert next_query(lines) == query


def test_gzip_is_undone_where_the_bytes_are_gzip_and_nowhere_else() -> None:
    packed = gzip.compress(b'{"tags":[]}')
    assert at_once(decoded(packed, "gzip", 100)) == b'{"tags":[]}'
    assert at_once(decoded(packed, None, 100)) == packed
    assert at_once(decoded(b'{"tags":[]}', "gzip", 100)) == b'{"tags":[]}'
    assert at_once(decoded(b'{"tags":[]}', "aws-chunked", 100)) == b'{"tags":[]}'


@pytest.mark.parametrize(
    "body", [gzip.compress(b"x" * 101), gzip.compress(b"x")[:-1], b"\x1f\x8bno"], ids=["large", "cut", "nonsense"]
)
def test_gzip_that_is_broken_or_too_large_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="gzip"):
        at_once(decoded(body, "gzip", 100))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes 5-9/10", ContentRange(5, 9, 10)),
        ("bytes 5-9/*", ContentRange(5, 9, None)),
        ("bytes 9-5/10", None),
        ("bytes 5-10/10", None),
        ("bytes */10", None),
        ("items 5-9/10", None),
        ("bytes 5-9", None),
        ("bytes -5-9/10", None),
        (None, None),
    ],
)
def test_content_ranges(text: str | None, expected: ContentRange | None) -> None:
    assert parse_content_range(text) == expected


def test_a_drip_is_noticed_and_a_slow_reader_is_not() -> None:
    drip = Throughput(window=60, slowest=1000)
    assert [drip.fell_short(1, 20) for _ in range(3)] == [False, False, True]
    reader = Throughput(window=60, slowest=1000)
    assert not any(reader.fell_short(10, 0.0) for _ in range(1000))
    steady = Throughput(window=60, slowest=1000)
    assert not any(steady.fell_short(20_000, 20) for _ in range(9))


@pytest.mark.parametrize(
    ("answer", "token"),
    [
        ({"token": "t"}, Token("t", UNSTATED_LIFE)),
        ({"access_token": "t", "expires_in": 300}, Token("t", 300)),
        ({"token": "t", "access_token": "u"}, Token("t", UNSTATED_LIFE)),
        ({"token": "t", "expires_in": 0}, Token("t", UNSTATED_LIFE)),
        ({"token": "t", "expires_in": -1}, Token("t", UNSTATED_LIFE)),
        ({"token": "t", "expires_in": "300"}, Token("t", UNSTATED_LIFE)),
        ({"token": "t", "expires_in": True}, Token("t", UNSTATED_LIFE)),
        ({"token": "t", "expires_in": None}, Token("t", UNSTATED_LIFE)),
        ({"token": "t", "expires_in": 10**8}, Token("t", LONGEST_LIFE)),
        ({"token": "t", "expires_in": 10**30}, Token("t", UNSTATED_LIFE)),
        ({"token": "t", "issued_at": "2999-01-01T00:00:00Z", "expires_in": 60}, Token("t", 60)),
        ({"token": ""}, None),
        ({"token": "a\r\nb"}, None),
        ({"token": ["t"]}, None),
        ({}, None),
    ],
)
def test_token_answers(answer: dict[str, object], token: Token | None) -> None:
    assert parse_token(json.dumps(answer).encode()) == token


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers()


@given(st.recursive(st.none() | st.booleans() | NUMBERS | st.text(), st.lists, max_leaves=5))
def test_any_expires_in_gives_a_life_between_nothing_and_twelve_hours(value: object) -> None:
    token = parse_token(json.dumps({"token": "t", "expires_in": value}).encode())
    assert token is not None
    assert 0 < token.life <= LONGEST_LIFE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"nope",
        b"\xff",
        b"[" * 60_000,
        b'{"expires_in": 1}',
        b'{"token":"t","x":[' + b"{}," * 1000 + b"{}]}",
    ],
)
def test_what_holds_no_token_gives_none(body: bytes) -> None:
    assert parse_token(body) is None
