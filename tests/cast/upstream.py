"""A registry on a free loopback port: steady by itself, and otherwise as the test says.

It runs in the test's loop on raw sockets. Clients may be of that loop, of threads, or of other processes.

    async with FaultUpstream() as up:
        digest = up.blob("library/app", content)
        up.plays("blob", roles.vanishes(after=100))   # the next blob request; then steady again
        ...
        assert len(up.requests("blob")) == 2
"""

import asyncio
import contextlib
import json
import re
import ssl
from collections import defaultdict, deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from proxy.core.authorities import format_authority
from proxy.core.names import Digest
from tests.cast.guard import Guard
from tests.cast.line import Act, Content, Line, Seen
from tests.cast.members import Members
from tests.cast.roles import steady

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_ROUTE = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|tags|referrers)/(?P<reference>[^/?]+)")
_KINDS = {"manifests": "manifest", "blobs": "blob", "tags": "tags", "referrers": "referrers"}


class FaultUpstream:
    """``host`` is a loopback address; ``base`` a path below which all its paths are, which scenes leave out."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", base: str = "") -> None:
        self.host = host
        self.base = base
        self.ledger: list[Seen] = []
        self.connections = 0
        self._tls = tls
        self._content: dict[str, Content] = {}
        self._plays: dict[str, deque[Act]] = defaultdict(deque)
        self._always: dict[str, Act] = {}
        self._guard: Guard | Members | None = None
        self._handlers: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, self.host, 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.vanish()

    async def vanish(self) -> None:
        """Every connection ends, and whoever tries again is refused one."""
        assert self._server is not None
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{format_authority(self.host, self.port)}{self.base}"

    def blob(self, name: str, content: bytes, algorithm: str = "sha256") -> Digest:
        digest = Digest.of(content, algorithm)
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
        self._content[f"/v2/{name}/blobs/{digest}"] = Content(200, content, headers)
        return digest

    def manifest(self, name: str, tag: str | None, raw: bytes, media_type: str = OCI_MANIFEST) -> Digest:
        digest = Digest.of(raw)
        headers = {"Content-Type": media_type, "Docker-Content-Digest": str(digest)}
        for reference in (digest, tag) if tag else (digest,):
            self._content[f"/v2/{name}/manifests/{reference}"] = Content(200, raw, headers)
        return digest

    def tags(self, name: str, tags: Sequence[str]) -> None:
        body = json.dumps({"name": name, "tags": list(tags)}).encode()
        self._content[f"/v2/{name}/tags/list"] = Content(200, body, {"Content-Type": "application/json"})

    def page(self, path: str, body: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
        """Anything else, as a storage host or a referrers page; ``path`` has no query."""
        self._content[path] = Content(status, body, headers or {})

    def remove(self, path: str) -> None:
        self._content.pop(path, None)

    def guard(self, guard: Guard | None = None) -> Guard:
        """From now on ``/v2/`` takes only tokens of this guard."""
        self._guard = guard or Guard()
        return self._guard

    def members(self, members: Members) -> Members:
        """From now on they are who may read here."""
        self._guard = members
        return members

    def token_server(self, guard: Guard) -> None:
        """``/token`` here gives tokens for somebody else's registry."""
        self._always["token"] = guard.issue

    def plays(self, what: str, *acts: Act) -> None:
        """The next requests of that kind, or of that path, get these answers, one each."""
        self._plays[what].extend(acts)

    def always(self, what: str, act: Act) -> None:
        """Every request of that kind or path from now on, unless ``plays`` says otherwise."""
        self._always[what] = act

    def forget_always(self) -> None:
        """What ``always`` said."""
        self._always.clear()

    def forget_plays(self) -> None:
        """What ``plays`` said and nobody has asked for."""
        self._plays.clear()

    def requests(self, kind: str | None = None) -> list[Seen]:
        return [seen for seen in self.ledger if kind in (None, seen.kind)]

    @property
    def unplayed(self) -> int:
        """Answers that were told but never given: a scene that ends with some has not shown its fault."""
        return sum(len(acts) for acts in self._plays.values())

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._serve(reader, writer, self.connections)
        finally:
            self._handlers.discard(handler)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")
            method, target, _ = first.split(" ")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            path = target.partition("?")[0].removeprefix(self.base)
            seen = Seen(_kind(path), method, target, headers, connection, body=body)
            self.ledger.append(seen)
            line = Line(seen, self._content.get(path) or _missing(seen.kind), writer)
            await self._act(seen.kind, path, line)(line)
            if not line.open or headers.get("connection", "").lower() == "close":
                return

    def _act(self, kind: str, path: str, line: Line) -> Act:
        for what in (path, kind):
            if self._plays[what]:
                return self._plays[what].popleft()
        for what in (path, kind):
            if what in self._always:
                return self._always[what]
        if self._guard is not None and kind == "token":
            return self._guard.issue
        if self._guard is not None and path.startswith("/v2/") and not self._guard.admits(line):
            return self._challenged
        return steady

    async def _challenged(self, line: Line) -> None:
        assert self._guard is not None
        if isinstance(self._guard, Members) and self._guard.knows(line):
            await line.answer(403, _error("DENIED"))
            return
        match = _ROUTE.match(line.seen.target.removeprefix(self.base))
        challenge = self._guard.challenge(f"{self.url}/token", match["name"] if match else "")
        await line.answer(401, _error("UNAUTHORIZED"), {"WWW-Authenticate": challenge})


def _kind(path: str) -> str:
    if path in ("/token", "/v2/"):
        return "token" if path == "/token" else "ping"
    match = _ROUTE.match(path)
    return _KINDS[match["kind"]] if match else "other"


def _missing(kind: str) -> Content:
    codes = {"manifest": "MANIFEST_UNKNOWN", "blob": "BLOB_UNKNOWN", "tags": "NAME_UNKNOWN"}
    return Content(404, _error(codes.get(kind, "NOT_FOUND")), {"Content-Type": "application/json"})


def _error(code: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode()
