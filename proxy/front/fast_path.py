"""The fast path: a simple GET or HEAD of something that is in memory is answered from prepared bytes.

It takes only what it understands to the last byte: one complete header block, alone in its buffer, with no body, no
condition and nothing that changes how the bytes are framed. For anything else, malformed requests included, the
connection is handed to the full path, bytes and all, and stays there. Access and freshness are decided by the same
rooms as there; a reply is remembered only until anything that such a decision rests on changes.
"""

import asyncio
import math
import re
from collections.abc import Callable
from typing import Final, cast

from proxy.cache.engine import Cache
from proxy.core.errors import Fault
from proxy.core.names import Digest, Tag
from proxy.core.upstreams import UpstreamNames
from proxy.front import replies
from proxy.front.access_log import AccessLog, Line, Tally, Traffic
from proxy.front.connections import ClientConnections, Server, refuse
from proxy.front.routes import Asked, BlobPull, ManifestPull, Ping, parse

_REMEMBERED = 4096  # header blocks
_LONGEST_BLOCK = 4096  # bytes
_REMEMBERED_BYTES = 32 << 20  # of replies
_LONGEST_CONTENT = 64 << 10  # bytes; what is longer goes by the full path, which waits for slow readers
_SWEEP_EVERY = 1.0  # seconds

_FIELD = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ \t]*[!-~](?:[ -~]*[!-~])?[ \t]*\r\n"
_BLOCK: Final = re.compile(rb"(GET|HEAD) (/v2/[!-~]*) HTTP/1\.1\r\n((?:%b)+)\r\n" % _FIELD)
_PLAIN_HOST: Final = re.compile(rb"[0-9A-Za-z.:_\[\]-]{1,255}")
_NOT_HERE: Final = frozenset(
    b"content-length transfer-encoding trailer te upgrade expect connection http2-settings proxy-connection keep-alive "
    b"range if-range if-match if-none-match if-modified-since if-unmodified-since".split()
)
"""Headers that change framing or meaning: the full path's business."""


class _Understood:
    """One header block, what it asks, and the reply as long as nothing that it rests on changes."""

    __slots__ = (
        "agent",
        "asked",
        "digest",
        "encoded",
        "fresh_until",
        "generations",
        "is_get",
        "rests_on",
        "sent",
        "tally",
        "target",
        "traffic",
    )

    def __init__(self, asked: Asked, is_get: bool, target: str, agent: str, traffic: Traffic, tally: Tally) -> None:
        self.asked = asked
        self.is_get = is_get
        self.target = target
        self.agent = agent
        self.traffic = traffic
        self.tally = tally
        self.rests_on = (0, 0)  # places of what ``encoded`` was made from: digest and tag
        self.generations = -1  # the sum of theirs when it was made
        self.fresh_until = 0.0
        self.digest: Digest | None = None  # of the content, for the mark of last use
        self.encoded = b""
        self.sent = 0  # bytes of body in ``encoded``


class FastPath:
    """A factory of protocols. Connections begin here, and count here."""

    def __init__(
        self, cache: Cache, names: UpstreamNames, access_log: AccessLog, server: Server, now: Callable[[], float]
    ) -> None:
        self.places: ClientConnections = server.places
        self.server = server
        self.waiting: set[FastConnection] = set()
        self.now = now
        self._cache = cache
        self._holdings = cache.holdings
        self._generations = cache.holdings.generations.at
        self._names = names
        self._access_log = access_log
        self._understood: dict[bytes, _Understood] = {}
        self._remembered = 0  # bytes of replies

    def __call__(self) -> "FastConnection":
        return FastConnection(self)

    def reply(self, received: bytes, address: str, now: float) -> bytes | None:
        """The whole reply; None where this is for the full path."""
        understood = self._understood.get(received)
        if understood is None:
            understood = self._understand(received)
            if understood is None:
                return None
        digest, tag = understood.rests_on
        current = (
            self._generations[digest] + self._generations[tag] == understood.generations
            and now <= understood.fresh_until
        )
        if not current and not self._prepare(understood):
            return None
        if understood.digest is not None:
            self._holdings.mark_used(understood.digest, now)
        understood.tally.requests += 1
        understood.tally.sent += understood.sent
        if self._access_log.writes:
            self._write_line(understood, address, now)
        return understood.encoded

    def _prepare(self, understood: _Understood) -> bool:
        """Decides anew; False where the reply needs more than memory."""
        match understood.asked.operation:
            case ManifestPull() as pull:
                found = self._cache.manifests.peek(pull.repository, pull.reference)
                if found is None:
                    return False
                answer, understood.fresh_until = found
                understood.digest = answer.digest
                reply = replies.manifest(pull, answer)
            case BlobPull() as pull:
                raw = self._cache.blobs.peek(pull.repository, pull.digest)
                if raw is None:
                    return False
                understood.digest, understood.fresh_until = pull.digest, math.inf
                reply = replies.small_blob(pull, raw)
            case _:
                understood.fresh_until = math.inf
                reply = replies.ping()
        content = reply.content
        if not isinstance(content, bytes) or len(content) > _LONGEST_CONTENT:
            return False
        if not understood.is_get:
            content = b""
        self._remember(understood, replies.head(reply, understood.asked.namespace, True, False) + content)
        understood.sent = len(content)
        understood.rests_on = self._places(understood)
        understood.generations = sum(self._generations[place] for place in understood.rests_on)
        return True

    def _places(self, understood: _Understood) -> tuple[int, int]:
        """Nothing was waited for since the decision, so the generations there now are those it was made in."""
        place = self._holdings.generations.place
        digest = place(understood.digest)
        match understood.asked.operation:
            case ManifestPull(repository=repository, reference=Tag() as tag):
                return digest, place((repository, tag))
            case _:
                return digest, digest

    def _remember(self, understood: _Understood, encoded: bytes) -> None:
        self._remembered += len(encoded) - len(understood.encoded)
        understood.encoded = encoded
        if self._remembered > _REMEMBERED_BYTES:
            self._understood.clear()
            self._remembered = 0

    def _understand(self, received: bytes) -> _Understood | None:
        if len(received) > _LONGEST_BLOCK:
            return None
        block = _BLOCK.fullmatch(received)
        if block is None:
            return None
        method, target, lines = block.groups()
        parted = [line.partition(b":") for line in lines.split(b"\r\n")[:-1]]
        fields = [(name.lower(), value.strip()) for name, _, value in parted]
        hosts = [value for name, value in fields if name == b"host"]
        if len(fields) > self.places.rules.headers:
            return None
        if len(hosts) != 1 or not _PLAIN_HOST.fullmatch(hosts[0]) or any(name in _NOT_HERE for name, _ in fields):
            return None
        try:
            asked = parse(method.decode(), target.decode(), {}, self._names)
        except Fault:
            return None
        if not isinstance(asked.operation, Ping | ManifestPull | BlobPull):
            return None
        agent = next((value.decode() for name, value in fields if name == b"user-agent"), "")
        traffic = self._traffic(asked)
        tally = self._access_log.tally(traffic, 200)
        understood = _Understood(asked, method == b"GET", target.decode()[:1024], agent[:256], traffic, tally)
        if len(self._understood) >= _REMEMBERED:
            self._understood.clear()
            self._remembered = 0
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

    def _write_line(self, understood: _Understood, address: str, now: float) -> None:
        method = "GET" if understood.is_get else "HEAD"
        outcome, upstream = understood.traffic.outcome, understood.traffic.upstream
        self._access_log.write(
            Line(now, address, method, understood.target, 200, outcome, upstream, understood.sent, 0.0,
                 understood.agent, "")
        )  # fmt: skip

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

    async def sweep_silent(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_EVERY)
            self.sweep(self.now())


class FastConnection(asyncio.Protocol):
    """One connection, as long as it asks for simple things."""

    __slots__ = ("_address", "_fast_path", "_transport", "served", "silent_since")

    def __init__(self, fast_path: FastPath) -> None:
        self.served = False
        self.silent_since = 0.0
        self._fast_path = fast_path
        self._address = ""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is one by what it does, not by its class
        peer = transport.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) else ""
        if not self._fast_path.places.enter(address):
            refuse(transport)
            return
        self._address, self._transport = address, transport
        self.silent_since = self._fast_path.now()
        self._fast_path.waiting.add(self)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        if transport is None:
            return
        now = self._fast_path.now()
        reply = None if transport.get_write_buffer_size() else self._fast_path.reply(data, self._address, now)
        if reply is None:
            self._fast_path.waiting.discard(self)
            self._transport = None
            self._fast_path.server.take_over(transport, self._address, data)
            return
        transport.write(reply)
        self.served = True
        self.silent_since = now

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._transport = None
            self._fast_path.waiting.discard(self)
            self._fast_path.places.leave(self._address)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
