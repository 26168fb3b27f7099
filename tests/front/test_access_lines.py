"""The log's lines of requests: made quickly, and still the ones that the plain rendering gives."""

import json
from collections.abc import Callable
from itertools import product

import pytest

from proxy.front.access_log import Line, Traffic, lines_of
from proxy.logs import Entry, as_json, as_text

HIT = Traffic("ecr", "blob", "hit")
BLOCK = b'GET /v2/ecr/app/manifests/1 HTTP/1.1\r\nHost: a\r\nUser-Agent: containerd/2 "x" \xe9\r\n\r\n'
TIMES = [0.0, 1764166800.25, 1764166800.2504, 1764166801.999]
CLIENTS = ["10.0.0.7", "fd00::7", "10.0.0.8"]
LINES = [
    *(Line(at, client, BLOCK, 200, HIT, 512, 0.0, "") for at, client in product(TIMES, CLIENTS)),
    Line(1.0, "10.0.0.7", BLOCK, 206, HIT, 512, 0.0, ""),
    Line(1.0, "10.0.0.7", BLOCK, 200, HIT, 512, 0.5, ""),
    Line(1.0, "10.0.0.7", BLOCK, 200, HIT, 12, 0.5, "client went away"),
    Line(1.0, "10.0.0.7", b"GET /~client~ HTTP/1.1\r\nUser-Agent: 1970-01-01T00:00:00.000Z\r\n", 404, HIT, 0, 0.0, ""),
    *(Line(1.0, "10.0.0.7", BLOCK, 200, HIT, 512, 0.0, "", "", user) for user in ("", "alice", "~client~ 1970")),
    Line(1.0, "10.0.0.7", b"\x00\xff", 400, HIT, 0, 0.0, ""),
    Line(1.0, "10.0.0.7", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414, HIT, 0, 0.0, ""),
]


@pytest.mark.parametrize("render", [as_json, as_text])
def test_a_quick_line_is_the_plain_line(render: Callable[[Entry], str]) -> None:
    write = lines_of(render)
    for line in [*LINES, *LINES]:
        assert write(line) == render((line.at, "info", line.fields()))


def test_what_is_no_request_is_written_as_it_is() -> None:
    entry: Entry = (1.0, "warning", {"message": "the disk is full", "free": 0})
    assert lines_of(as_json)(entry) == as_json(entry)
    assert json.loads(as_json(entry))["free"] == 0


def test_many_different_lines_are_forgotten_and_made_anew() -> None:
    write = lines_of(as_text)
    for number in range(10_000):
        line = Line(2.0, "10.0.0.7", b"GET /v2/a/manifests/%d HTTP/1.1\r\n\r\n" % number, 200, HIT, 1, 0.0, "")
        assert f"/v2/a/manifests/{number} " in write(line)
    assert write(LINES[0]) == as_text((LINES[0].at, "info", LINES[0].fields()))
