"""One request's header block as a value, by llhttp in its strict mode; bounds, and what no pull needs, are refused.

A pull has no body (OCI distribution-spec, "Pull"), so a header block is a whole request: nothing behind it is ever
taken for a part of it, and whatever claims a body ends the connection (RFC 9112 section 11.2).
"""

from collections.abc import Mapping
from typing import NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from proxy.core.errors import BodyRefused, MethodUnsupported, RequestMalformed, VersionUnsupported

_LONGEST_BLOCK = 64 << 10  # bytes
_VERSIONS = frozenset({"1.0", "1.1"})
_MALFORMED = "this is not a well-formed HTTP/1.1 request"


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
