"""Requests of clients, well-formed, nearly so, and not at all: the front takes none that is not what it looks like, in
whatever pieces it comes and whatever came before."""

import re

from hypothesis import event, example, given
from hypothesis import strategies as st

from proxy.core.access import Caller
from proxy.core.errors import RequestFault, RequestMalformed
from proxy.core.names import UpstreamNames
from proxy.front.requests import HeadLimits, HeadParser, RequestHead, Requests, Understood
from proxy.front.routes import Asked
from tests.fuzz import examples
from tests.fuzz.octets import mangled, pieces_of

TARGETS = [
    b"/v2/",
    b"/v2/app/manifests/1",
    b"/v2/up.test/app/manifests/1?ns=up.test",
    b"/v2/app/blobs/sha256:" + b"a" * 64,
    b"/v2/app/tags/list?n=5&last=x",
    b"/v2/_catalog",
]
FIELDS = [
    b"Host: a",
    b"Host: b",
    b"host:\ta",
    b"User-Agent: x y",
    b"Accept: a/b",
    b"X-Y: z",
    b"Authorization: Basic eDp5",
    b"AUTHORIZATION:Bearer t \t",
    b"authorization:  Basic \xe9",
    b"Authorization:",
    b"X-Authorization: Bearer no",
    b"Range: bytes=1-2",
    b"If-None-Match: x",
    b"Connection: close",
    b"Connection: upgrade",
    b"Upgrade: h2c",
    b"Content-Length: 0",
    b"Content-Length: 5",
    b"Transfer-Encoding: chunked",
    b"Expect: 100-continue",
]
PLAIN = re.compile(
    rb"(?:GET|HEAD) /[^\x00-\x20\x7f]* HTTP/1\.[01](?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00\r\n]*)*\r\n\r\n"
)
FRAMES = re.compile(rb"\r\n(?:transfer-encoding:|content-length:(?![ \t]*0[ \t]*\r\n))", re.IGNORECASE)
LIMITS = HeadLimits()
NAMES = UpstreamNames(frozenset({"up.test"}), "up.test")


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from([b"GET", b"HEAD", b"POST"]))
    fields = draw(st.lists(st.sampled_from(FIELDS), max_size=6))
    return b"%s %s HTTP/1.1\r\n%s\r\n" % (
        method,
        draw(st.sampled_from(TARGETS)),
        b"".join(field + b"\r\n" for field in [b"Host: a", *fields]),
    )


ALL = requests() | mangled(requests())


def read(octets: bytes, seed: int) -> RequestHead | str | None:
    """As a connection reads it: the block so far after each piece."""
    parser, block = HeadParser(LIMITS), b""
    try:
        for piece in pieces_of(octets, seed):
            block += piece
            if (end := block.find(b"\r\n\r\n")) >= 0:
                return parser.head(block[: end + 4])
            parser.feed(block)
    except RequestMalformed as malformed:
        return str(malformed)
    return None


def taken(head: RequestHead) -> bool:
    try:
        head.require_pull()
    except RequestFault:
        return False
    return True


@examples
@given(ALL | st.binary(max_size=80), st.integers(), st.integers())
def test_in_whatever_pieces_it_comes_there_is_one_outcome(octets: bytes, seed: int, other: int) -> None:
    one, two = read(octets, seed), read(octets, other)
    event(type(one).__name__)
    assert type(one) is type(two)
    assert one == two or isinstance(one, str)


@examples
@given(ALL, st.integers())
@example(b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\r\n\r\n", 0)
@example(b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0)
@example(b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0)
@example(b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 0)
def test_what_is_taken_is_a_pull_and_nothing_but(octets: bytes, seed: int) -> None:
    head = read(octets, seed)
    if not isinstance(head, RequestHead) or not taken(head):
        return
    block = octets[: octets.index(b"\r\n\r\n") + 4]
    assert PLAIN.fullmatch(block)
    assert not FRAMES.search(block)
    assert head.target.encode("latin-1") == block.split(b" ")[1]


@examples
@given(st.lists(ALL, min_size=1, max_size=6))
def test_what_came_before_changes_no_meaning(blocks: list[bytes]) -> None:
    """Blocks are remembered without what means nothing."""
    remembering = Requests(NAMES, LIMITS, who=who)
    for octets in blocks:
        end = octets.find(b"\r\n\r\n") + 4
        if end < 4:
            continue
        block = octets[:end]
        found = meaning(remembering, block)
        assert found == meaning(Requests(NAMES, LIMITS, who=who), block)
        if not isinstance(found, str):
            assert found[0] == credential(block), "another credential than the one that was sent"


def who(authorization: bytes, asked: Asked | None) -> Caller:
    return Caller(authorization.decode("latin-1"))


def credential(block: bytes) -> bytes | None:
    """What the values of all headers of that name come to, as RFC 9110 section 5.3 has it; None without any."""
    fields = [field.partition(b":") for field in block.split(b"\r\n")[1:]]
    values = [value.strip(b" \t") for name, _, value in fields if name.lower() == b"authorization"]
    return b",".join(values) if values else None


def meaning(requests: Requests, block: bytes) -> str | tuple[bytes | None, object]:
    """What was sent as a login, and what is asked."""
    known = requests.known(block)
    assert known is None or credential(block) is None, "a login is remembered with its block"
    try:
        understood: Understood = known or requests.recall(block) or requests.read(block, None)
        again: Understood = requests.recall(block) or requests.read(block, None)
        if (recalled := requests.recall(block)) is not None:
            requests.keep(block, recalled)
    except RequestMalformed as malformed:
        return str(malformed)
    assert again.authorization == understood.authorization
    assert understood.caller is not None
    assert understood.caller.name == understood.authorization.decode("latin-1")
    sent = understood.authorization if understood.shown else None
    head, asked = understood.head, understood.asked
    said = None if asked is None else (asked.method, asked.operation, asked.path, asked.namespace)
    condition = [head.headers.get(name) for name in ("range", "if-none-match", "host")]
    asking = said, str(understood.fault), head.method, head.keep_alive, head.has_body, head.version, condition
    return sent, asking
