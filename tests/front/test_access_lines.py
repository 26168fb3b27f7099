"""The log's lines of requests: made quickly, and still the ones that the plain rendering gives."""

import json
from collections.abc import Callable
from itertools import product

import pytest

from proxy.front.access_log import Answered, Hit, Line, LogLines, Traffic
from proxy.logs import Entry, as_json, as_text

TRAFFIC = Traffic("ecr", "blob", "hit")
BLOCK = b'GET /v2/ecr/app/manifests/1 HTTP/1.1\r\nHost: a\r\nUser-Agent: containerd/2 "x" \xe9\r\n\r\n'
ODD_BLOCKS = [
    BLOCK,
    b"\x00\xff",
    b"GET /~client~ HTTP/1.1\r\nUser-Agent: 1970-01-01T00:00:00.000Z\r\n",
    b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
]
WHOLE, PART = Answered(200, TRAFFIC, 512), Answered(206, TRAFFIC, 12)
TIMES = [0.0, 1764166800.25, 1764166800.2504, 1764166800.123, 1764166801.999]
CLIENTS = ["10.0.0.7", "fd00::7", "10.0.0.8"]
HITS: list[Hit] = [
    *((at, client, BLOCK, WHOLE, "") for at, client in product(TIMES, CLIENTS)),
    *((1.0, "10.0.0.7", block, answered, "") for block, answered in product(ODD_BLOCKS, (WHOLE, PART))),
    *((1.0, "10.0.0.7", BLOCK, WHOLE, user) for user in ("", "alice", "~client~ 1970")),
]
LINES = [
    Line(1.0, "10.0.0.7", BLOCK, 200, TRAFFIC, 512, 0.5, ""),
    Line(1.0, "10.0.0.7", BLOCK, 200, TRAFFIC, 12, 0.5, "client went away", "0123456789ab", "alice"),
]
ENTRY: Entry = (1.0, "warning", {"message": "the disk is full", "free": 0})
FORMS = pytest.mark.parametrize("render", [as_json, as_text])


def plain(request: Hit | Line) -> Entry:
    line = request if isinstance(request, Line) else Line.of(request)
    return line.at, "info", line.fields()


@FORMS
def test_a_quick_line_is_the_plain_line(render: Callable[[Entry], str]) -> None:
    lines = LogLines(render)
    expected = [render(plain(hit)) for hit in HITS]
    for _ in range(2):
        assert lines(HITS).splitlines() == expected


@FORMS
def test_the_lines_of_a_batch_are_in_the_order_in_which_they_were_noted(render: Callable[[Entry], str]) -> None:
    hit, line = HITS[0], LINES[1]
    written = LogLines(render)([hit, ENTRY, hit, line, ENTRY])
    expected = [render(each) for each in (plain(hit), ENTRY, plain(hit), plain(line), ENTRY)]
    assert written == "".join(f"{each}\n" for each in expected)


def test_a_hit_is_logged_with_the_fields_of_any_other_request() -> None:
    hit, line = (json.loads(LogLines(as_json)([each])) for each in (HITS[-2], LINES[1]))
    assert list(hit) == list(line)
    assert (hit["user"], hit["status"], hit["sent"], hit["seconds"]) == ("alice", 200, 512, 0.0)


def test_many_different_lines_are_forgotten_and_made_anew() -> None:
    lines = LogLines(as_text)
    for number in range(10_000):
        hit = (2.0, "10.0.0.7", b"GET /v2/a/manifests/%d HTTP/1.1\r\n\r\n" % number, WHOLE, "")
        assert f"/v2/a/manifests/{number} " in lines([hit])
    assert lines(HITS[:1]) == as_text(plain(HITS[0])) + "\n"
