"""Client connections on the whole road: aiohttp's protocol, bounded, and what a malformed request is told."""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from proxy.core.errors import Overloaded, RequestMalformed
from proxy.front import replies

log = logging.getLogger("entrepot.front")

_BAD_REQUESTS_LOGGED = 10  # a second


@dataclass(frozen=True, slots=True)
class ConnectionRules:
    connections: int = 4096
    per_address: int = 256
    header_timeout: float = 15.0  # seconds until the first request must be there whole
    idle_timeout: float = 75.0  # between requests; above the 60 s of common load balancers, so that they close first
    line: int = 8190  # bytes of the request line, and of each header
    headers: int = 100


class ClientConnections:
    """The places that connections take."""

    def __init__(self, rules: ConnectionRules) -> None:
        self.rules = rules
        self.open = 0
        self.refused = 0
        self.malformed = 0
        self._by_address: Counter[str] = Counter()
        self._logged_second = 0
        self._logged = 0

    def enter(self, address: str) -> bool:
        """False where there are too many, in all or from this address."""
        if self.open >= self.rules.connections or self._by_address[address] >= self.rules.per_address:
            self.refused += 1
            return False
        self.open += 1
        self._by_address[address] += 1
        return True

    def leave(self, address: str) -> None:
        self.open -= 1
        self._by_address[address] -= 1
        if self._by_address[address] <= 0:
            del self._by_address[address]

    def malformed_from(self, address: str | None, now: float) -> None:
        """Counted always, logged at a bounded pace: whoever sends rubbish shall not fill the disk with it."""
        self.malformed += 1
        if int(now) != self._logged_second:
            self._logged_second, self._logged = int(now), 0
        self._logged += 1
        if self._logged <= _BAD_REQUESTS_LOGGED:
            log.info("malformed request from %s: a TLS handshake, or no HTTP at all", address)


class Sent(web.StreamResponse):
    """Tells aiohttp that the reply is out already, and whether the connection may live on."""

    def __init__(self, keep_alive: bool) -> None:
        super().__init__()
        self._stays = keep_alive

    @property
    def keep_alive(self) -> bool:
        return self._stays

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class FullConnection(RequestHandler):
    """aiohttp's protocol of one connection, whose place was taken by the fast path that hands it over."""

    __slots__ = ("_address", "_first", "_places")

    def __init__(self, places: ClientConnections, address: str, manager: "Server", **options: Any) -> None:
        super().__init__(manager, **options)
        self._places = places
        self._address = address
        self._first: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._first = asyncio.get_running_loop().call_later(self._places.rules.header_timeout, self._silent)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._places.leave(self._address)
        self.spoke()
        super().connection_lost(exc)

    def spoke(self) -> None:
        """A whole request came: from now on the idle timeout holds."""
        if self._first is not None:
            self._first.cancel()
            self._first = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What cannot be parsed gets OCI JSON and a closed connection; nothing of it is repeated."""
        self.spoke()
        self._places.malformed_from(request.remote, asyncio.get_running_loop().time())
        reply = replies.fault(RequestMalformed("this is not a well-formed HTTP/1.1 request"))
        assert isinstance(reply.content, bytes)
        if self.transport is not None:
            self.transport.write(replies.head(reply, None, keep_alive=False, chunked=False) + reply.content)
        return Sent(keep_alive=False)

    def _silent(self) -> None:
        self._first = None
        self.force_close()


class Server(web.Server):
    """aiohttp's low-level server, with our connections."""

    def __init__(self, handler: Any, places: ClientConnections) -> None:
        super().__init__(handler)
        self.places = places
        self._options: dict[str, Any] = {
            "keepalive_timeout": places.rules.idle_timeout,
            "max_line_size": places.rules.line,
            "max_field_size": places.rules.line,
            "max_headers": places.rules.headers,
            "access_log": None,
            "auto_decompress": False,
            "lingering_time": 1,
        }

    def take_over(self, transport: asyncio.Transport, address: str, received: bytes) -> None:
        """The connection is aiohttp's from now on, with the bytes that have come."""
        connection = FullConnection(self.places, address, self, loop=self._loop, **self._options)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        connection.data_received(received)


def refuse(transport: asyncio.Transport) -> None:
    """Full: 503 and not 429, which containerd would retry on us instead of going to its next host."""
    reply = replies.fault(Overloaded("too many connections"))
    assert isinstance(reply.content, bytes)
    transport.write(replies.head(reply, None, keep_alive=False, chunked=False) + reply.content)
    transport.close()
