"""The express lane: a simple GET or HEAD of something that is in memory is answered from prepared bytes.

It takes only what it understands to the last byte: one complete header block, alone in its buffer, with no body, no
condition and nothing that changes how the bytes are framed. For anything else, malformed requests included, the
connection is handed to the whole road, bytes and all, and stays there. Access and freshness are decided on each
request, by the same rooms; only the understanding of a header block and the head of a reply are remembered.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Final

from proxy.cache.engine import Cache
from proxy.core.errors import Fault
from proxy.core.names import Digest
from proxy.core.upstreams import UpstreamNames
from proxy.front import replies
from proxy.front.connections import Connections, Server, refuse
from proxy.front.journal import Journal, Line, Traffic
from proxy.front.replies import Reply
from proxy.front.routes import Asked, BlobPull, ManifestPull, Ping, parse

_REMEMBERED = 4096  # header blocks
_LONGEST_BLOCK = 4096  # bytes
_SWEEP_EVERY = 1.0  # seconds

_FIELD = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ \t]*[!-~](?:[ -~]*[!-~])?[ \t]*\r\n"
_BLOCK: Final = re.compile(rb"(GET|HEAD) (/v2/[!-~]*) HTTP/1\.1\r\n((?:%b)+)\r\n" % _FIELD)
_PLAIN_HOST: Final = re.compile(rb"[0-9A-Za-z.:_\[\]-]{1,255}")
_NOT_HERE: Final = frozenset(
    {
        b"content-length", b"transfer-encoding", b"trailer", b"te", b"upgrade", b"expect", b"connection",
        b"http2-settings", b"proxy-connection", b"keep-alive", b"range", b"if-range", b"if-match", b"if-none-match", b"if-modified-since",
        b"if-unmodified-since",
    }
)  # fmt: skip
"""Headers that change framing or meaning: the whole road's business."""


class _Understood:
    """One header block and what it asks; ``head`` is that of the last reply, for as long as it stays the same."""

    __slots__ = ("agent", "asked", "digest", "head", "is_get", "media_type", "target", "traffic")

    def __init__(self, asked: Asked, is_get: bool, target: str, agent: str, traffic: Traffic) -> None:
        self.asked = asked
        self.is_get = is_get
        self.target = target
        self.agent = agent
        self.traffic = traffic
        self.digest: Digest | None = None
        self.media_type = ""
        self.head = b""


class Lane:
    """A factory of protocols. Connections begin here, and count here."""

    def __init__(
        self, cache: Cache, names: UpstreamNames, journal: Journal, server: Server, now: Callable[[], float]
    ) -> None:
        self.places: Connections = server.places
        self.server = server
        self.waiting: set[LaneConnection] = set()
        self._cache = cache
        self._names = names
        self._journal = journal
        self._now = now
        self._understood: dict[bytes, _Understood] = {}

    def __call__(self) -> "LaneConnection":
        return LaneConnection(self)

    def reply(self, received: bytes, address: str) -> bytes | None:
        """The whole reply; None where this is not for the lane."""
        understood = self._understood.get(received)
        if understood is None:
            understood = self._understand(received)
            if understood is None:
                return None
        match understood.asked.operation:
            case ManifestPull() as pull:
                answer = self._cache.manifests.peek(pull.repository, pull.reference)
                if answer is None:
                    return None
                if understood.digest != answer.digest or understood.media_type != answer.media_type:
                    self._prepare(understood, replies.manifest(pull, answer), answer.digest, answer.media_type)
                content = answer.raw
            case BlobPull() as pull:
                raw = self._cache.blobs.peek(pull.repository, pull.digest)
                if raw is None:
                    return None
                if understood.digest is None:
                    self._prepare(understood, replies.small_blob(pull, raw), pull.digest, "")
                content = raw
            case _:
                reply = replies.ping()
                assert isinstance(reply.content, bytes)
                content = reply.content
                understood.head = understood.head or replies.head(reply, understood.asked.namespace, True, False)
        if not understood.is_get:
            content = b""
        self._note(understood, address, len(content))
        return understood.head + content

    def sweep(self, now: float) -> None:
        """Closes who said nothing for too long."""
        rules = self.places.rules
        for connection in [one for one in self.waiting if one.silent_since + rules.header_timeout < now]:
            if not connection.served or connection.silent_since + rules.idle_timeout < now:
                connection.close()

    def close_idle(self) -> None:
        """No further requests: idle connections end now, busy ones behind their reply."""
        for connection in list(self.waiting):
            connection.close()
        self.server.pre_shutdown()

    async def keep_sweeping(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_EVERY)
            self.sweep(loop.time())

    def _understand(self, received: bytes) -> _Understood | None:
        if len(received) > _LONGEST_BLOCK:
            return None
        block = _BLOCK.fullmatch(received)
        if block is None:
            return None
        method, target, lines = block.groups()
        fields = [line.split(b":", 1) for line in lines[:-2].split(b"\r\n")]
        hosts = [value.strip() for name, value in fields if name.lower() == b"host"]
        if (
            len(hosts) != 1
            or not _PLAIN_HOST.fullmatch(hosts[0])
            or any(name.lower() in _NOT_HERE for name, _ in fields)
        ):
            return None
        try:
            asked = parse(method.decode(), target.decode(), {}, self._names)
        except Fault:
            return None
        if not isinstance(asked.operation, Ping | ManifestPull | BlobPull):
            return None
        agents = [value.strip().decode() for name, value in fields if name.lower() == b"user-agent"]
        understood = _Understood(
            asked, method == b"GET", target.decode()[:1024], (agents or [""])[0][:256], self._traffic(asked)
        )
        if len(self._understood) >= _REMEMBERED:
            self._understood.clear()
        self._understood[received] = understood
        return understood

    def _traffic(self, asked: Asked) -> Traffic:
        match asked.operation:
            case ManifestPull(repository=repository):
                return Traffic(self._names.configured(repository.upstream) or "", "manifest", "hit")
            case BlobPull(repository=repository):
                return Traffic(self._names.configured(repository.upstream) or "", "blob", "hit")
            case _:
                return Traffic("", "ping", "ping")

    def _prepare(self, understood: _Understood, reply: Reply, digest: Digest, media_type: str) -> None:
        understood.head = replies.head(reply, understood.asked.namespace, True, False)
        understood.digest, understood.media_type = digest, media_type

    def _note(self, understood: _Understood, address: str, sent: int) -> None:
        self._journal.count(understood.traffic, 200, sent)
        if self._journal.writes:
            method = "GET" if understood.is_get else "HEAD"
            traffic = understood.traffic
            self._journal.write(
                Line(self._now(), address, method, understood.target, 200, traffic.outcome, traffic.upstream, sent, 0.0,
                     understood.agent, "")
            )  # fmt: skip


class LaneConnection(asyncio.Protocol):
    """One connection, as long as it asks for simple things."""

    __slots__ = ("_address", "_lane", "_transport", "served", "silent_since")

    def __init__(self, lane: Lane) -> None:
        self.served = False
        self.silent_since = 0.0
        self._lane = lane
        self._address = ""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        peer = transport.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) else ""
        if not self._lane.places.enter(address):
            refuse(transport)
            return
        self._address, self._transport = address, transport
        self.silent_since = asyncio.get_running_loop().time()
        self._lane.waiting.add(self)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        if transport is None:
            return
        reply = None if transport.get_write_buffer_size() else self._lane.reply(data, self._address)
        if reply is None:
            self._lane.waiting.discard(self)
            self._transport = None
            self._lane.server.take_over(transport, self._address, data)
            return
        transport.write(reply)
        self.served = True
        self.silent_since = asyncio.get_running_loop().time()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._transport = None
            self._lane.waiting.discard(self)
            self._lane.places.leave(self._address)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
