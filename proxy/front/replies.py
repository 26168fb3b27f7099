"""What is sent, as values: status, headers, and bytes or a part of a body."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus

from proxy.cache.answers import BlobAnswer, ManifestAnswer, Outcome, SizeAnswer
from proxy.cache.body import Body, BytesBody
from proxy.cache.listings import ReferrersAnswer, TagsAnswer
from proxy.core.errors import Fault
from proxy.core.manifests import OCI_INDEX
from proxy.core.names import Digest
from proxy.core.operations import BlobPull, CatalogList, ManifestPull, Operation, ReferrersList, TagList
from proxy.core.paging import Page, next_link
from proxy.core.steps import Steps
from proxy.front import faults
from proxy.front.date import DateHeader
from proxy.front.routes import Asked
from proxy.login.logins import Granted

Headers = Sequence[tuple[str, str]]

_VERSION = ("Docker-Distribution-Api-Version", "registry/2.0")
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_JSON = ("Content-Type", "application/json")
_NAMES_STEP = 10_000
_BLOB_HEADERS = (
    ("Content-Type", "application/octet-stream"),
    ("Accept-Ranges", "bytes"),
    ("Cache-Control", "max-age=31536000"),
)

CACHE_STATUS = {
    Outcome.HIT: "entrepot; hit",
    Outcome.STALE: "entrepot; hit; detail=stale",
    Outcome.OFFLINE: "entrepot; hit; detail=offline",
    Outcome.REVALIDATED: "entrepot; fwd=stale",
    Outcome.MISS: "entrepot; fwd=miss; stored",
    Outcome.COLLAPSED: "entrepot; fwd=miss; collapsed",
    Outcome.BYPASS: "entrepot; fwd=bypass",
}
"""RFC 9211."""
_CACHED = {outcome: ("Cache-Status", status) for outcome, status in CACHE_STATUS.items()}


@dataclass(slots=True)
class Stream:
    """Bytes ``start`` up to ``end`` of a body; ``end`` is None while the size is not known. The socket has taken
    ``sent`` of them, however it ended."""

    body: Body
    start: int
    end: int | None
    sent: int = 0

    @property
    def is_out(self) -> bool:
        """The socket has taken all of it."""
        return self.end is not None and self.sent == self.end - self.start


@dataclass(frozen=True, slots=True)
class Reply:
    """``content`` of a HEAD's or a 304's reply is what a GET would send; the writer leaves it out."""

    status: int
    headers: Headers
    content: bytes | Stream
    outcome: str  # of the metrics
    length: int | None  # of the content, None while nobody knows
    reason: str = ""  # behind the status text
    request: str = ""  # the id that is told with a fault


def ping() -> Reply:
    return _whole(200, (_JSON,), b"{}", "ping")


def token(granted: Granted) -> Reply:
    """As the distribution project's "Token Authentication Specification" has it; clients read one name or the other."""
    issued = datetime.fromtimestamp(granted.issued, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    said = {"token": granted.token, "access_token": granted.token, "expires_in": granted.seconds, "issued_at": issued}
    return _whole(200, (_JSON, ("Cache-Control", "no-store")), json.dumps(said).encode(), "token")


def manifest(asked: ManifestPull, answer: ManifestAnswer) -> Reply:
    stale = _stale(answer.outcome, answer.age, answer.warning)
    headers = [*_named(answer.digest), _CACHED[answer.outcome], *stale, *answer.quota]
    if asked.known is not None and _matches(asked.known, answer.digest):
        return Reply(304, headers, b"", answer.outcome.value, None)
    return _whole(200, [("Content-Type", answer.media_type), *headers], answer.raw, answer.outcome.value)


def blob(asked: BlobPull, answer: BlobAnswer) -> Reply:
    """Raises RangeUnsatisfiable. A pass-through is sent whole whatever range was asked: only so can its digest be
    proven before it ends."""
    headers = [*_named(asked.digest), *_BLOB_HEADERS, _CACHED[answer.outcome]]
    if asked.known is not None and _matches(asked.known, asked.digest):
        return Reply(304, headers, Stream(answer.body, 0, 0), answer.outcome.value, None)
    if asked.range is None or answer.outcome is Outcome.BYPASS or not answer.size:  # no byte has no range
        return Reply(200, headers, Stream(answer.body, 0, answer.size), answer.outcome.value, answer.size)
    span = asked.range.within(answer.size)
    ranged = ("Content-Range", f"bytes {span.start}-{span.end - 1}/{answer.size}")
    content = Stream(answer.body, span.start, span.end)
    return Reply(206, [*headers, ranged], content, answer.outcome.value, span.length)


def small_blob(asked: BlobPull, raw: bytes) -> Reply:
    """Of a hit whose bytes are in memory. Raises RangeUnsatisfiable."""
    reply = blob(asked, BlobAnswer(BytesBody(raw), len(raw), Outcome.HIT))
    assert isinstance(reply.content, Stream)
    return replace(reply, content=raw[reply.content.start : reply.content.end])


def blob_size(asked: BlobPull, answer: SizeAnswer) -> Reply:
    headers = [*_named(asked.digest), *_BLOB_HEADERS, _CACHED[answer.outcome]]
    status = 304 if asked.known is not None and _matches(asked.known, asked.digest) else 200
    return Reply(status, headers, b"", answer.outcome.value, answer.size if status == 200 else None)


def tags(request: Asked, asked: TagList, answer: TagsAnswer) -> Steps[Reply]:
    """As many as upstream sends are written in steps."""
    page, outcome, warning = answer
    parts = []
    for start in range(0, len(page.names), _NAMES_STEP):
        parts.append(json.dumps(page.names[start : start + _NAMES_STEP])[1:-1])
        yield
    body = f'{{"name": {json.dumps(asked.repository.name)}, "tags": [{", ".join(parts)}]}}'.encode()
    said = [_CACHED[outcome], *_stale(outcome, None, warning)]
    return _whole(200, [_JSON, *said, *_link(request, page.next_query)], body, outcome.value)


def referrers(request: Asked, asked: ReferrersList, answer: ReferrersAnswer) -> Reply:
    said = [_CACHED[answer.outcome], *_stale(answer.outcome, answer.age, answer.warning)]
    headers = [("Content-Type", OCI_INDEX), *said]
    if answer.page.filtered:
        headers.append(("OCI-Filters-Applied", "artifactType"))
    headers.extend(_link(request, answer.page.next_query))
    return _whole(200, headers, answer.page.raw, answer.outcome.value)


def catalog(request: Asked, asked: CatalogList, page: Page) -> Reply:
    body = json.dumps({"repositories": list(page.names)}).encode()
    link = _link(request, page.next_query)
    return _whole(200, [_JSON, _CACHED[Outcome.HIT], *link], body, Outcome.HIT.value)


def fault(kind: Fault, asked: Operation | None, request: str) -> Reply:
    """What a client may know of it stands in the body and in the status line: containerd and BuildKit ask by HEAD, and
    show of a refusal its status text and nothing else. ``request`` is the id under which the log has the rest; empty
    where there is no such line."""
    text = faults.told(kind, asked)
    content = faults.body(kind, text, request)
    headers = [_JSON, *faults.headers(kind)]
    status, reason = faults.row(kind).status, faults.reason(text, request)
    return Reply(status, headers, content, "error", len(content), reason, request)


def head(reply: Reply, date: bytes, namespace: str | None, keep_alive: bool, chunked: bool) -> bytes:
    """The header block; ``date`` is a whole line, right behind the status line, whose text is free and begins with the
    usual words for those who look for them (RFC 9112 section 4)."""
    lines = [f"{name}: {value}" for name, value in (_VERSION, *reply.headers)]
    if namespace is not None:
        lines.append(f"OCI-Namespace: {namespace}")
    if reply.length is not None:
        lines.append(f"Content-Length: {reply.length}")
    elif chunked:
        lines.append("Transfer-Encoding: chunked")
    if not keep_alive:
        lines.append("Connection: close")
    status = _STATUS_LINES[reply.status]
    if reply.reason:
        status = b"%b: %b\r\n" % (status[:-2], reply.reason.encode("ascii"))
    return b"%b%b%b" % (status, date, ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))


def redate(encoded: bytes, date: bytes) -> bytes:
    """The same reply with another date."""
    start = encoded.index(b"\r\n") + 2
    return b"%b%b%b" % (encoded[:start], date, encoded[start + DateHeader.LENGTH :])


def last_word(kind: Fault, date: bytes, request: str = "") -> bytes:
    """The whole reply to what is no request; the connection ends with it."""
    reply = fault(kind, None, request)
    assert isinstance(reply.content, bytes)
    return head(reply, date, None, keep_alive=False, chunked=False) + reply.content


def _whole(status: int, headers: Headers, content: bytes, outcome: str) -> Reply:
    return Reply(status, headers, content, outcome, len(content))


def _named(digest: Digest) -> Headers:
    return ("Docker-Content-Digest", digest), ("ETag", f'"{digest}"')


def _stale(outcome: Outcome, age: float | None, warning: str) -> Iterator[tuple[str, str]]:
    """Since when, where that is known, and why (distribution-spec "Warnings"; RFC 9111 5.1)."""
    if age is not None:
        yield "Age", str(int(age))
    if outcome is Outcome.STALE:
        yield "Warning", f'299 - "{warning}"'


def _matches(condition: str, digest: Digest) -> bool:
    """If-None-Match (RFC 9110 13.1.2), weakly compared; bare digests are taken too, since clients send them."""
    tags = (tag.strip().removeprefix("W/").strip('"') for tag in condition.split(","))
    return any(tag in {digest, "*"} for tag in tags)


def _link(request: Asked, query: str | None) -> Headers:
    return () if query is None else (("Link", next_link(request.path, query, request.namespace)),)
