"""From a header block to who asks and for what, and the memory of what blocks mean.

Clients change headers that change nothing. So it goes in two steps: a block that came before is known by its bytes, any
other by what is left of it without the headers that have no meaning here. Only what neither step knows is parsed, by
llhttp in its strict mode; bounds, and what no pull needs, are refused.

Who asks and what is asked are two questions. No block is remembered with a login in it: what it asks for is known by
what is left without the Authorization header, and who asks by that header's value, in a memory that is not kept here.

A pull has no body (OCI distribution-spec, "Pull"), so a header block is a whole request: nothing behind it is ever
taken for a part of it, and whatever claims a body ends the connection (RFC 9112 section 11.2).
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from proxy.core.access import ANONYMOUS, Caller
from proxy.core.doors import HostNames
from proxy.core.errors import BodyRefused, Fault, MethodUnsupported, RequestMalformed, VersionUnsupported
from proxy.core.names import UpstreamNames
from proxy.core.operations import Operation
from proxy.core.tables import BoundedTable
from proxy.core.via import hops_of, require_no_loop
from proxy.front.routes import Asked, parse


class HeadLimits(NamedTuple):
    line: int = 8190  # bytes of the request line, and of each header
    headers: int = 100


class RequestHead(NamedTuple):
    method: str
    target: str  # as it came
    version: str  # such as ``1.1``
    headers: Mapping[str, str]  # names in lower case; values of one name joined by commas (RFC 9110 5.3)
    keep_alive: bool
    has_body: bool  # or only claims one

    def without_login(self) -> "RequestHead":
        """The same, where no login is to be kept with it."""
        return self._replace(headers={name: value for name, value in self.headers.items() if name != "authorization"})

    def require_pull(self) -> None:
        """Raises VersionUnsupported, RequestMalformed, MethodUnsupported, BodyRefused: after all but the third, the
        connection must end."""
        headers = self.headers
        if self.version not in _VERSIONS:
            raise VersionUnsupported(self.version)
        if not self.target.startswith("/"):
            raise RequestMalformed("the request target must be a path")
        if "," in headers.get("host", "," if self.version == "1.1" else ""):
            raise RequestMalformed("one Host header is needed")
        if headers.get("upgrade", "h2c").lower() != "h2c":  # h2c is ignored, as RFC 9110 7.8 allows
            raise RequestMalformed("no other protocol is spoken here")
        if self.method not in {"GET", "HEAD"}:
            raise MethodUnsupported(self.method)
        if self.has_body:
            raise BodyRefused()


class HeadParser:
    """For one header block, that may come in pieces. What is wrong is said as early as it can be seen."""

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self._parser = HttpRequestParser(self)
        self._fed = 0  # bytes
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._longest = 0  # bytes of a field
        self._head: RequestHead | None = None

    def feed(self, block: bytes) -> None:
        """All that has come of the block. Raises RequestMalformed."""
        if len(block) > _LONGEST_BLOCK:
            raise RequestMalformed(f"at most {_LONGEST_BLOCK} bytes of headers are read")
        if block and not block[:1].isalpha():  # llhttp would pass over any CR and LF in front
            raise RequestMalformed(_MALFORMED)
        fresh, self._fed = block[self._fed :], len(block)
        try:
            self._parser.feed_data(fresh)
        except HttpParserUpgrade:
            pass  # what comes behind an offer to upgrade is HTTP/1.1 as long as nobody takes it
        except HttpParserError as cause:
            raise RequestMalformed(_MALFORMED) from cause

    def head(self, block: bytes) -> RequestHead:
        """Of the whole block. Raises RequestMalformed."""
        self.feed(block)
        head, limits = self._head, self._limits
        line = block[: block.index(b"\r\n")]
        if head is None or (b" HTTP/" not in line and head.version != "0.9"):  # llhttp knows protocols beside HTTP
            raise RequestMalformed(_MALFORMED)
        if line.count(b" ") > 2:  # RFC 9112 section 3; llhttp takes any number for one
            raise RequestMalformed(_MALFORMED)
        if len(line) > limits.line or len(self._fields) > limits.headers or self._longest > limits.line:
            raise RequestMalformed(f"at most {limits.headers} headers of {limits.line} bytes are read")
        return head

    # What httptools calls.

    def on_url(self, piece: bytes) -> None:
        self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name, value))
        self._longest = max(self._longest, len(name) + len(value))

    def on_headers_complete(self) -> None:
        if self._head is not None:
            return  # what is no HTTP/1 at all may look like several requests; the first one's version is refused
        parser, version = self._parser, self._parser.get_http_version()
        headers: dict[str, str] = {}
        for name, value in self._fields:
            key, text = name.decode("latin-1").lower(), value.strip(b" \t").decode("latin-1")
            headers[key] = f"{headers[key]},{text}" if key in headers else text
        has_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
        self._head = RequestHead(
            parser.get_method().decode("latin-1"),
            self._target.decode("latin-1"),
            version,
            headers,
            parser.should_keep_alive() and version == "1.1" and not has_body,
            has_body,
        )


_LONGEST_BLOCK = 64 << 10  # bytes
_VERSIONS = frozenset({"1.0", "1.1"})
_MALFORMED = "this is not a well-formed HTTP/1.1 request"
_LONGEST_KEPT = 4096  # bytes of a block
_KEPT_BYTES = 16 << 20  # at each step
_LEFT_OUT = 32  # headers, at most
_OVERHEAD = 1500  # bytes that an understood block takes beside its fields

_WITHOUT_MEANING: Final = re.compile(
    rb"\r\n(?:[Xx]-[!#$%&'*+.^_`|~0-9A-Za-z-]+|[Uu]ser-[Aa]gent|[Aa]ccept(?:-[A-Za-z]+)?|[Tt]race(?:parent|state)"
    rb"|[Bb](?:aggage|3)):[ -~\t]*(?=\r\n)"
)
"""Whole header lines, each well-formed by itself (RFC 9112 section 5), so that a block is well-formed with them where
it is without. Nothing that frames a message or carries a condition may ever stand here."""

_AUTHORIZATION = b"\r\nauthorization:"
_AGENT: Final = re.compile(rb"\r\nuser-agent:[^\r\n]*", re.IGNORECASE)
_PLAIN: Final = re.compile(rb"[ -~\t]*")


class Understood(NamedTuple):
    """What one or many header blocks mean. Of those with a login ``caller`` is None where memory cannot tell who has
    sent it, and ``shown`` is the block without it."""

    caller: Caller | None
    head: RequestHead  # of the first such block
    asked: Asked | None  # None where ``fault`` says why
    fault: Fault | None = None
    authorization: bytes = b""  # the value of that header
    shown: bytes = b""


def _weight(understood: Understood) -> int:
    """Bytes: of its first block it holds all the headers, those without meaning too."""
    headers = understood.head.headers
    fields = sum(map(len, headers)) + sum(map(len, headers.values()))
    return _OVERHEAD + 100 * len(headers) + fields + 3 * len(understood.head.target)


class _Parts(NamedTuple):
    """A header block without its login, and the login, None where it has none."""

    block: bytes
    authorization: bytes | None


def _nobody(authorization: bytes, asked: Asked | None) -> Caller:
    return ANONYMOUS


Who = Callable[[bytes, Asked | None], Caller | None]


class Requests:
    """Takes one whole header block at a time, and nothing behind it. ``hosts`` are the names that it may be asked by,
    None for any; ``pseudonym`` is ours, so that nobody asks for us what we have asked for. A block that is remembered
    has passed. ``who`` tells from memory who has sent the value of an Authorization header with such a question, None
    where it cannot."""

    def __init__(
        self,
        names: UpstreamNames,
        limits: HeadLimits,
        hosts: HostNames | None = None,
        pseudonym: str = "",
        who: Who = _nobody,
    ) -> None:
        self._pseudonym = pseudonym
        self.limits = limits
        self._who = who
        self._names = names
        self._hosts = hosts
        self._blocks: BoundedTable[bytes, Understood] = BoundedTable(_KEPT_BYTES, weigh=_weight)
        self._remainders: BoundedTable[bytes, Understood] = BoundedTable(_KEPT_BYTES, weigh=_weight)
        self._asked: WeakValueDictionary[tuple[str, Operation, str, str | None], Asked] = WeakValueDictionary()
        self.known: Callable[[bytes], Understood | None] = self._blocks.peek  # of a block that came before, whole

    def recall(self, received: bytes) -> Understood | None:
        """By the second step; None where that knows nothing, or ``received`` is not one whole block alone."""
        if len(received) > _LONGEST_KEPT or received.find(b"\r\n\r\n") + 4 != len(received):
            return None
        parts = _parts(received)
        if parts is None:
            return None
        if parts.authorization is None:
            return self._remainders.peek(_WITHOUT_MEANING.sub(b"", received, _LEFT_OUT))
        understood = self._blocks.peek(parts.block)
        if understood is None:
            understood = self._remainders.peek(_WITHOUT_MEANING.sub(b"", parts.block, _LEFT_OUT))
        return self._signed(understood, parts) if understood is not None else None

    def keep(self, block: bytes, understood: Understood) -> None:
        """For the first step, from now on: whoever asks with the same bytes twice will do so again."""
        if not understood.shown:
            self._blocks.put(block, understood)
        elif self._blocks.peek(understood.shown) is None:  # with a login it comes here each time
            self._blocks.put(
                understood.shown, Understood(ANONYMOUS, understood.head, understood.asked, understood.fault)
            )

    def read(self, block: bytes, parser: HeadParser | None) -> Understood:
        """``parser`` has seen the beginning of the block, where it came in pieces. Raises RequestMalformed."""
        parts = _parts(block) if len(block) <= _LONGEST_KEPT else None
        remainder = _WITHOUT_MEANING.sub(b"", parts.block, _LEFT_OUT) if parts is not None else b""
        understood = self._remainders.peek(remainder) if parts is not None else None
        if understood is not None and parts is not None:
            return self._signed(understood, parts)
        head = (parser or HeadParser(self.limits)).head(block)
        given = _Parts(block, None)
        if (authorization := head.headers.get("authorization")) is not None:
            shown = parts.block if parts is not None else _anonymized(block)
            head, given = head.without_login(), _Parts(shown, authorization.encode("latin-1"))
        try:
            head.require_pull()
            if self._hosts is not None:
                self._hosts.require(head.headers.get("host", ""))
            if "via" in head.headers:
                require_no_loop(hops_of(head.headers["via"]), self._pseudonym)
            asked = parse(head.method, head.target, head.headers, self._names)
        except Fault as fault:
            return self._signed(Understood(ANONYMOUS, head, None, fault), given)
        key = (asked.method, asked.operation, asked.path, asked.namespace)
        understood = Understood(ANONYMOUS, head, self._asked.setdefault(key, asked))
        if parts is not None and remainder.count(b"\r\n") + _LEFT_OUT <= self.limits.headers:
            self._remainders.put(remainder, understood)
        return self._signed(understood, given)

    def _signed(self, understood: Understood, parts: _Parts) -> Understood:
        """What a block means with its login."""
        shown, authorization = parts
        if authorization is None:
            return understood
        return Understood(
            self._who(authorization, understood.asked),
            understood.head,
            understood.asked,
            understood.fault,
            authorization,
            shown,
        )


def _parts(block: bytes) -> _Parts | None:
    """None of a block that has several logins, or one that is not plain text: only a parser can tell what that is."""
    lowered = block.lower()
    start = lowered.find(_AUTHORIZATION)
    if start < 0:
        return _Parts(block, None)
    end = block.find(b"\r\n", start + 2)
    value = block[start + len(_AUTHORIZATION) : end]
    if lowered.find(_AUTHORIZATION, end) >= 0 or _PLAIN.fullmatch(value) is None:
        return None
    return _Parts(block[:start] + block[end:], value.strip(b" \t"))


def _anonymized(block: bytes) -> bytes:
    """As much of a block as may be shown, where it is long or odd."""
    line, agent = block[: block.find(b"\r\n")], _AGENT.search(block)
    return b"%b%b\r\n\r\n" % (line, agent[0] if agent else b"")
