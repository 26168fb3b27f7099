"""HTTP/1.1 as upstreams and proxies may speak it to us: heads of answers, what frames their bodies, chunks. Pure: bytes
in, values out; whoever has the socket brings the bytes.

Strict, for what one reader mends the next one reads otherwise: CR LF ends a line and nothing else does, no line is
folded (RFC 9112 sections 2.2 and 5.2), a body is framed in one way (section 6.3). Bounded, for the other side may be
hostile: what is neither body nor worth having is never longer than ``LONGEST_HEAD``, in whatever form it comes.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

LONGEST_HEAD = 64 << 10  # bytes: of all heads of one answer together, and of the framing of its chunks
MOST_FIELDS = 128  # lines of one head, or of the trailers
MOST_INTERIM = 10  # 1xx answers before the final one
_PIECE = 16 << 10  # bytes that are asked for at a time until the head is in
_LONGEST_CHUNK_LINE = 4 << 10  # bytes, with its extensions
_CHUNK_SHARE = 16  # bytes of body that pay for one of framing: chunks of a hundred bytes and more are free

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"  # RFC 9110 section 5.6.2; possessive, so that no match is sought twice
_TEXT = rb"[\t\x20-\x7e\x80-\xff]"
_QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\' + _TEXT + rb')*+"'  # RFC 9110 section 5.6.4
_STRAY = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\0")
_START = b"HTTP/1."
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: " + _TEXT + rb"*+)?")  # RFC 9112 section 4
_FIELD = re.compile(rb"(" + _TOKEN + rb"):(" + _TEXT + rb"*+)")  # RFC 9112 section 5
_CHUNK = re.compile(  # RFC 9112 section 7.1; of less than 2^60 bytes
    rb"([0-9A-Fa-f]{1,15}+)(?:[ \t]*+;[ \t]*+"
    + _TOKEN
    + rb"(?:[ \t]*+=[ \t]*+(?:"
    + _TOKEN
    + rb"|"
    + _QUOTED
    + rb"))?+)*+"
)
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
_TARGET = re.compile(r"[\x21-\x7e]+")
_LINE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class AnswerMalformed(Exception):
    """Not an answer in HTTP/1.1 as it is read here. The sentence quotes nothing of what came."""


class AnswerHead(NamedTuple):
    """Of a final answer. Names of ``fields`` are in lower case, each with its values in their order."""

    status: int
    version: str  # ``1.0`` or ``1.1``
    fields: Mapping[str, list[str]]

    def values(self, name: str) -> list[str]:
        """All of a name, in any case."""
        return self.fields.get(name.lower(), [])


class Framing(NamedTuple):
    """What tells where the body ends (RFC 9112 section 6.3): ``length`` bytes, else its chunks, else the connection."""

    length: int | None
    chunked: bool
    persistent: bool  # another answer may follow on the connection (section 9.3)


def question(method: str, target: str, fields: Mapping[str, str], body: bytes = b"") -> bytes:
    """A request, whole. Raises ValueError for what would be more than one line."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    if not _TARGET.fullmatch(target) or not all(map(_LINE.fullmatch, lines)):
        raise ValueError("a request must not hold control characters")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


class HeadReader:
    """For the head of one answer, which may come in pieces and behind interim ones (RFC 9110 section 15.2), which say
    nothing to us. What is wrong is said as early as it can be seen."""

    def __init__(self) -> None:
        self.behind = b""  # what came behind the final head
        self._block = bytearray()
        self._start = 0  # of the head that is being read
        self._checked = 0
        self._interim = 0

    def feed(self, piece: bytes | memoryview) -> AnswerHead | None:
        """The final head once it is whole, and no further piece then. Raises AnswerMalformed."""
        self._block += piece
        while (block := self._next()) is not None:
            head = parse_head(block)
            if head.status >= 200:
                self.behind = bytes(self._block[self._start :])
                return head
            self._interim += 1
            if head.status == 101 or self._interim > MOST_INTERIM:
                raise AnswerMalformed("it speaks of another protocol, or of an answer that never comes")
        return None

    def _next(self) -> bytes | None:
        block = self._block
        end = block.find(b"\r\n\r\n", max(self._start, self._checked - 3))
        whole = len(block) if end < 0 else end + 4
        if _STRAY.search(block, max(self._start, self._checked - 1), whole):
            raise AnswerMalformed("its head has a line that ends in no CR LF, or a NUL")
        if not _START.startswith(bytes(block[self._start : self._start + len(_START)])):
            raise AnswerMalformed("it does not begin with HTTP/1")
        if whole > LONGEST_HEAD:
            raise AnswerMalformed(f"its head has more than {LONGEST_HEAD} bytes")
        self._checked = whole
        if end < 0:
            return None
        start, self._start = self._start, whole
        return bytes(block[start:end])


def read_head(receive: Callable[[memoryview], int]) -> tuple[AnswerHead, bytes]:
    """The head of the next answer, and what came behind it, from what ``receive`` brings into the room it is given; 0
    is the end. Raises AnswerMalformed, ConnectionResetError, and what ``receive`` raises."""
    reader, room = HeadReader(), memoryview(bytearray(_PIECE))
    while count := receive(room):
        if (head := reader.feed(room[:count])) is not None:
            return head, reader.behind
    raise ConnectionResetError("closed without an answer")


def parse_head(block: bytes) -> AnswerHead:
    """Of a head without the empty line at its end. Raises AnswerMalformed."""
    first, *lines = block.split(b"\r\n")
    status = _STATUS_LINE.fullmatch(first)
    if status is None:
        raise AnswerMalformed("it begins with no status line")
    if len(lines) > MOST_FIELDS:
        raise AnswerMalformed(f"its head has more than {MOST_FIELDS} lines")
    fields: dict[str, list[str]] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise AnswerMalformed("its head has a line that is no header")
        fields.setdefault(field[1].decode("ascii").lower(), []).append(field[2].strip(b" \t").decode("latin-1"))
    return AnswerHead(int(status[2]), f"1.{status[1].decode()}", fields)


def framing(head: AnswerHead, method: str) -> Framing:
    """Of the answer to ``method``. Two framings that differ, or that HTTP/1.0 has not, are how answers are smuggled
    (RFC 9112 section 11.2). Raises AnswerMalformed."""
    codings, lengths = head.values("transfer-encoding"), head.values("content-length")
    if codings and (lengths or head.version == "1.0" or [coding.lower() for coding in codings] != ["chunked"]):
        raise AnswerMalformed("its body is framed in two ways, or in one unknown here")
    length = _length(lengths)
    options = ",".join(head.values("connection")).lower().split(",")
    persistent = head.version == "1.1" and "close" not in (option.strip(" \t") for option in options)
    if method == "HEAD" or head.status in (204, 304):
        return Framing(0, False, persistent)
    return Framing(length, bool(codings), persistent and bool(codings or length is not None))


def _length(values: list[str]) -> int | None:
    """RFC 9110 section 8.6: the same number again is one number."""
    said = {value.strip(" \t") for line in values for value in line.split(",")}
    if not said:
        return None
    if len(said) > 1 or not all(map(_LENGTH.fullmatch, said)):
        raise AnswerMalformed("its Content-Length is no number, or several")
    return int(said.pop())


class ChunkDecoder:
    """For one body in chunks (RFC 9112 section 7.1). Extensions and trailers are checked and dropped; framing that is
    out of all proportion to the body is refused: tiny chunks without end, long extensions."""

    def __init__(self) -> None:
        self.finished = False  # the last chunk and its trailers are in
        self.surplus = False  # and something behind them
        self._left = 0  # bytes of the chunk that is being read
        self._line = bytearray()  # what has come of a line
        self._take = self._size
        self._trailers = 0
        self._spent = 0.0  # bytes of framing that no body has paid for

    def decode(self, data: memoryview) -> int:
        """Takes the framing out of what came next, in place; how many bytes of the body are left, in front. Raises
        AnswerMalformed."""
        kept = position = 0
        while position < len(data) and not self.finished:
            if self._left:
                count = min(self._left, len(data) - position)
                if kept != position:
                    data[kept : kept + count] = data[position : position + count]
                kept, position, self._left = kept + count, position + count, self._left - count
                self._spent = max(self._spent - count / _CHUNK_SHARE, 0.0)
            else:
                position += self._read_line(bytes(data[position : position + _LONGEST_CHUNK_LINE]))
        self.surplus = self.surplus or position < len(data)
        return kept

    def _read_line(self, window: bytes) -> int:
        """Takes what the window has of a line; how much that is."""
        count = window.find(b"\n") + 1 or len(window)
        self._line += window[:count]
        self._spent += count
        if len(self._line) > (2 if self._take == self._end else _LONGEST_CHUNK_LINE) or self._spent > LONGEST_HEAD:
            raise AnswerMalformed("its chunks are longer than they say, or have more framing than body")
        if self._line.endswith(b"\n"):
            line = bytes(self._line)
            self._line.clear()
            if not line.endswith(b"\r\n"):
                raise AnswerMalformed("its chunks have a line that ends in no CR LF")
            self._take(line[:-2])
        return count

    def _size(self, line: bytes) -> None:
        chunk = _CHUNK.fullmatch(line)
        if chunk is None:
            raise AnswerMalformed("the size of a chunk is no number, or has more to it than extensions")
        self._left = int(chunk[1], 16)
        self._take = self._end if self._left else self._trailer

    def _end(self, line: bytes) -> None:
        if line:
            raise AnswerMalformed("a chunk is longer than it says")
        self._take = self._size

    def _trailer(self, line: bytes) -> None:
        self._trailers += 1
        if self._trailers > MOST_FIELDS or (line and not _FIELD.fullmatch(line)):
            raise AnswerMalformed("its trailers are no headers, or too many")
        self.finished = not line
