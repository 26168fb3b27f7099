"""Answers of upstreams, well-formed, nearly so, and not at all. Whatever comes, and in whatever pieces: one outcome,
within the bounds; and what is read is what llhttp reads in its strict mode."""

import random
from typing import NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from hypothesis import event, example, given
from hypothesis import strategies as st

from proxy.upstream.http1 import LONGEST_HEAD, AnswerMalformed, ChunkDecoder, Framing, HeadReader, framing, question
from tests.fuzz import examples
from tests.fuzz.octets import mangled, pieces_of

TOKEN = "!#$%&'*+.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-"
TOKENS = st.text(TOKEN, min_size=1, max_size=8).map(str.encode)
TEXT = st.text([*map(chr, range(0x20, 0x7F)), "\t", *map(chr, range(0x80, 0x100))], max_size=12).map(
    lambda text: text.encode("latin-1")
)
QUOTED = st.text([*map(chr, range(0x20, 0x7F)), "\t"], max_size=8).map(
    lambda text: b'"' + text.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'
)
EXTENSIONS = st.lists(st.tuples(TOKENS, TOKENS | QUOTED | st.none()), max_size=2).map(
    lambda listed: b"".join(b";" + name + (b"" if value is None else b"=" + value) for name, value in listed)
)
FRAMING = {b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"proxy-connection"}
NAMES = TOKENS.map(lambda name: b"x-" + name if name.lower() in FRAMING else name)


class Told(NamedTuple):
    """What a reader makes of an answer."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes
    persistent: bool


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """As they should be, all of them."""
    fields = draw(st.lists(st.tuples(NAMES, TEXT), max_size=4))
    body = draw(st.binary(max_size=80))
    head = b"HTTP/1.1 %d %s\r\n" % (draw(st.sampled_from([200, 206, 302, 404, 599])), draw(TEXT))
    head += b"".join(b"%s: %s\r\n" % field for field in fields)
    interim = b"HTTP/1.1 %d x\r\n\r\n" % draw(st.sampled_from([100, 103])) * draw(st.integers(0, 2))
    if draw(st.booleans()):
        return interim + head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    sizes = draw(st.lists(st.integers(1, 30), max_size=5))
    chunks, start = b"", 0
    for size in [*sizes, len(body)]:
        if piece := body[start : start + size]:
            chunks += b"%x%s\r\n%s\r\n" % (len(piece), draw(EXTENSIONS), piece)
        start += size
    trailers = b"".join(b"%s: %s\r\n" % field for field in draw(st.lists(st.tuples(NAMES, TEXT), max_size=2)))
    return interim + head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailers + b"\r\n"


def ours(octets: bytes, seed: int, room: int = 1 << 16) -> Told | str | None:
    """The answer; why it is none; None where there is more to come."""
    reader, pieces = HeadReader(), iter(pieces_of(octets, seed))
    try:
        head = next((found for piece in pieces if (found := reader.feed(piece)) is not None), None)
        if head is None:
            assert len(octets) <= LONGEST_HEAD
            return None
        framed = framing(head, "GET")
        body = _body(framed, reader.behind + b"".join(pieces), seed, room)
    except AnswerMalformed as malformed:
        return str(malformed)
    fields = [(name, value) for name, values in head.fields.items() for value in values]
    return None if body is None else Told(head.status, sorted(fields), body, framed.persistent)


def _body(framed: Framing, behind: bytes, seed: int, room: int) -> bytes | None:
    if not framed.chunked:
        whole = framed.length is None or len(behind) >= framed.length
        return behind[: framed.length] if whole else None
    decoder, body = ChunkDecoder(), b""
    for piece in pieces_of(behind, seed):
        for start in range(0, len(piece), room):
            data = bytearray(piece[start : start + room])
            kept = decoder.decode(memoryview(data))
            assert 0 <= kept <= len(data)
            body += data[:kept]
    return body if decoder.finished else None


class Theirs:
    """The same by llhttp."""

    def __init__(self) -> None:
        self.fields: list[tuple[str, str]] = []
        self.body = b""
        self.done = False
        self.parser = HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.done and not self.body:
            self.fields.append((name.decode().lower(), value.strip(b" \t").decode("latin-1")))

    def on_message_begin(self) -> None:
        if not self.done:
            self.fields, self.body = [], b""

    def on_body(self, piece: bytes) -> None:
        self.body += piece if not self.done else b""

    def on_message_complete(self) -> None:
        self.done = self.done or self.parser.get_status_code() >= 200


@examples
@given(answers(), st.integers())
def test_what_keeps_the_rules_is_read_whole(octets: bytes, seed: int) -> None:
    assert isinstance(ours(octets, seed), Told)


@examples
@given(answers() | mangled(answers()), st.integers(), st.integers(), st.integers(1, 9))
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 0, 1, 1)
@example(b"HTTP/1.1 200 OK\r\nX: y\r\r\n\r\n", 0, 1, 1)
def test_in_whatever_pieces_it_comes_there_is_one_outcome(octets: bytes, seed: int, other: int, room: int) -> None:
    """Which fault of several is named may depend on the pieces; that it is one, and what is read, never."""
    one, two = ours(octets, seed), ours(octets, other, room)
    event(type(one).__name__)
    assert type(one) is type(two)
    assert one == two or isinstance(one, str)


@examples
@given(answers() | mangled(answers()), st.integers())
def test_what_is_read_is_what_llhttp_reads(octets: bytes, seed: int) -> None:
    told, theirs = ours(octets, seed), Theirs()
    if not isinstance(told, Told):
        return
    try:
        theirs.parser.feed_data(octets)
    except HttpParserUpgrade:
        pass
    except HttpParserError:
        assert theirs.done, "it takes less"  # what comes behind the answer is no business of ours
    event(f"{told.status}")
    if "chunked" not in dict(told.fields).get("transfer-encoding", "").lower():
        assert [field for field in sorted(theirs.fields)] == told.fields
    assert theirs.body == told.body


@examples
@given(st.binary(max_size=300), st.integers())
def test_noise_is_no_answer(octets: bytes, seed: int) -> None:
    assert not isinstance(ours(octets, seed), Told)


@examples
@given(st.binary(max_size=200), st.integers(), st.integers(1, 5))
def test_noise_in_place_of_chunks_gives_no_more_than_came(octets: bytes, seed: int, room: int) -> None:
    outcome = ours(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + octets, seed, room)
    assert not isinstance(outcome, Told) or len(outcome.body) < len(octets)


@examples
@given(
    st.integers(0, 2**32), st.sampled_from([b"a", b"\r", b" ", b"1\r\n \r\n", b";a", b"X: y\r\n", b"\t", b'"', b"\0"])
)
def test_nothing_is_listened_to_without_end(seed: int, again: bytes) -> None:
    """Behind any beginning, what repeats itself ends in an answer or a fault once it is long enough."""
    starts = [
        b"",
        b"HTTP/1.1 200 ",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
    ]
    octets = random.Random(seed).choice(starts) + again * (200_000 // len(again))
    assert ours(octets, seed, 1 << 14) is not None


@examples
@given(
    st.text(max_size=20), st.dictionaries(st.text(max_size=9), st.text(max_size=20), max_size=3), st.binary(max_size=9)
)
def test_a_question_is_as_many_lines_as_it_has_fields(target: str, fields: dict[str, str], body: bytes) -> None:
    try:
        octets = question("GET", target, fields, body)
    except ValueError:
        return
    head, _, behind = octets.partition(b"\r\n\r\n")
    assert behind == body
    assert len(head.split(b"\n")) == 1 + len(fields) + bool(body)
    assert head.split(b"\r\n")[0].count(b" ") == 2
