"""The client: opens requests in threads of its own, and leaves a blob's body to whoever moves bytes.

The loop only waits for headers; a body goes from the socket to a buffer in a thread, without the loop.
"""

import asyncio
import io
import ssl
import threading
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

from proxy.core.errors import Hint, UpstreamBroken, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from proxy.core.via import via
from proxy.tasks.hops import CAME_BY
from proxy.upstream.address import AddressForbidden
from proxy.upstream.ask_threads import AskThreads
from proxy.upstream.connections import AnswerBody, ConnectionPool, UpstreamConnection, body_of
from proxy.upstream.egress import Proxy, ProxyFailed
from proxy.upstream.health import Stats
from proxy.upstream.http1 import AnswerHead, AnswerMalformed, Framing, framing
from proxy.upstream.message import USER_AGENT, Request
from proxy.upstream.passage import led_astray
from proxy.upstream.server import Pools, Server
from proxy.upstream.settings import KIB, RegistrySettings
from proxy.upstream.target import Target

T = TypeVar("T")
_OURS = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
_REPEATABLE = frozenset({"GET", "HEAD"})  # what is asked again where a connection was given up (RFC 9110 section 9.2.2)
_PIECE = 64 * KIB  # of a small body, at a time


class HttpClient:
    """Asks for one upstream, by connections of ``server`` that ``pools`` keep."""

    def __init__(
        self, settings: RegistrySettings, server: Server, pools: Pools, stats: Stats, threads: AskThreads
    ) -> None:
        self.upstream = settings.name
        self._settings = settings
        self._stats = stats
        self._server = server
        self._passages = server.passages
        # Who asks whoever it is, for whoever had us ask: only so does one that leads back to us see it.
        self._ours = {**_OURS, "Via": via((server.pseudonym,))} if server.pseudonym else _OURS
        self._pools = pools
        self._threads = threads
        self._closed = False
        self._aloft: set[Callable[[], None]] = set()

    async def send(self, request: Request) -> "HttpAnswer":
        """Raises UpstreamUnreachable, UpstreamTimeout or UpstreamBroken."""
        clock = asyncio.get_running_loop().time
        began = clock()
        until = began + request.total
        came_by = CAME_BY.get()
        own = self._server.pseudonym
        ours = {**self._ours, "Via": via((*came_by, own))} if came_by and own else self._ours
        request = request._replace(headers={**ours, **request.headers})
        try:
            proxy = None if self._passages.straight else await self._passages.proxy(request)
            opening = _Opening(self._settings, self._pools[request.host_class], request, proxy)
            opened = await self.in_thread(opening.run, opening.abandon, _Opened.close, until, request.target)
        except UpstreamFault as fault:
            self._stats.failed(request.kind, fault)
            raise
        answer = HttpAnswer(self, self._pools[request.host_class], request.target, opened, until)
        self._stats.answered(request.kind, answer.status, answer.header("ratelimit-remaining"))
        self._stats.waited(request.kind, clock() - began, answer.header("ratelimit-limit"))
        return answer

    async def in_thread(
        self,
        work: Callable[[], T],
        interrupt: Callable[[], None],
        give_back: Callable[[T], None],
        until: float,
        target: Target,
    ) -> T:
        """What ``work`` returns by ``until``, on the loop's clock. Nobody waits longer for a thread: resolving a name
        cannot be interrupted, so what comes late is given back. Raises UpstreamUnreachable, UpstreamTimeout."""
        if self._closed:
            raise UpstreamUnreachable(self.upstream, "its client is closing")
        self._aloft.add(interrupt)
        try:
            async with asyncio.timeout_at(until):
                return await self._threads.run(self._server.name, work, interrupt, give_back)
        except TimeoutError as late:
            raise UpstreamTimeout(self.upstream, f"{target} did not answer in time") from late
        finally:
            self._aloft.discard(interrupt)

    def reconnect(self) -> None:
        """What is asked from now on goes over new connections."""
        for pool in self._pools.values():
            pool.close_idle()

    async def close(self) -> None:
        """What is being opened or read fails at once; bodies under way are their movers', connections the server's."""
        self._closed = True
        for interrupt in list(self._aloft):
            interrupt()


class _Opened(NamedTuple):
    """A connection with an answer on it."""

    connection: UpstreamConnection
    head: AnswerHead
    framed: Framing
    body: AnswerBody

    def close(self) -> None:
        self.connection.close()


class _Opening:
    """Opening one request: take an idle connection or connect, send, read the head. Blocks; ``abandon`` may come from
    any thread, everything else belongs to the one that opens."""

    def __init__(self, settings: RegistrySettings, pool: ConnectionPool, request: Request, proxy: Proxy | None) -> None:
        self._settings = settings
        self._pool = pool
        self._request = request
        self._proxy = proxy
        self._lock = threading.Lock()
        self._connection: UpstreamConnection | None = None
        self._abandoned = False

    def run(self) -> _Opened:
        """Raises UpstreamUnreachable, UpstreamTimeout or UpstreamBroken."""
        origin, repeatable = self._request.target.origin, self._request.method in _REPEATABLE
        reused = self._pool.idle(origin, self._proxy) if repeatable else None
        try:
            if reused is not None:
                try:
                    return self._ask(reused)
                except (ConnectionError, ssl.SSLError):
                    pass  # the other side had given it up meanwhile; a fresh one tells whether there is more to it
            return self._ask(self._connect())
        except (OSError, AnswerMalformed, ValueError) as cause:
            raise self._fault(cause) from cause

    def abandon(self) -> None:
        """Nobody waits for the answer any more: ``run`` fails as soon as it can."""
        with self._lock:
            self._abandoned = True
            if self._connection is not None:
                self._connection.interrupt()

    def _connect(self) -> UpstreamConnection:
        origin, name = self._request.target.origin, self._settings.name
        if self._abandoned:
            raise UpstreamUnreachable(name, "its client is closing")
        try:
            return self._pool.fresh(origin, self._proxy)
        except ssl.SSLCertVerificationError as cause:
            why = f"the certificate of {origin} is not valid: {cause.verify_message}"
            raise UpstreamUnreachable(name, why, str(origin), Hint.UNTRUSTED) from cause
        except TimeoutError as late:
            why = f"no connection to {origin} in time"
            raise UpstreamUnreachable(name, why, str(origin), Hint.UNCONNECTED) from late
        except AddressForbidden as forbidden:
            raise led_astray(name, self._request, forbidden) from forbidden
        except (OSError, ValueError) as cause:
            reason = getattr(cause, "strerror", None) or cause
            why = f"no connection to {origin}: {reason}"
            raise UpstreamUnreachable(name, why, str(origin), Hint.UNCONNECTED) from cause

    def _ask(self, connection: UpstreamConnection) -> _Opened:
        limits = self._settings.limits
        try:
            with self._lock:
                self._connection = connection
                if self._abandoned:
                    connection.interrupt()
            head = connection.ask(self._request, limits.first_byte, limits.stall)
            framed = framing(head, self._request.method)
            return _Opened(connection, head, framed, body_of(connection, framed, limits.stall))
        except BaseException:
            connection.close()
            raise

    def _fault(self, cause: Exception) -> UpstreamFault:
        name, target = self._settings.name, self._request.target
        if isinstance(cause, TimeoutError):
            return UpstreamTimeout(name, f"{target} did not answer in time")
        if isinstance(cause, ProxyFailed):
            why = f"no connection to {target.origin}: {cause}"
            return UpstreamUnreachable(name, why, str(target.origin), Hint.UNCONNECTED)
        if isinstance(cause, OSError):
            return UpstreamUnreachable(name, f"{target} closed the connection without an answer")
        return UpstreamBroken(name, f"{target} did not answer in HTTP: {cause}")


class HttpAnswer:
    """The head is in, the body is not yet: the right to use a connection until ``release`` or ``discard``. The whole of
    a small exchange is over by ``until``, on the loop's clock."""

    def __init__(self, client: HttpClient, pool: ConnectionPool, target: Target, opened: _Opened, until: float) -> None:
        self.connection, self._head, self._framed, self.body = opened
        self.status = self._head.status
        self.length = self._framed.length  # of the body, None where it was not promised
        self._client = client
        self._pool = pool
        self._target = target
        self._until = until
        self._over = False

    def header(self, name: str) -> str | None:
        """The first of that name."""
        return next(iter(self._head.values(name)), None)

    def headers(self, name: str) -> list[str]:
        """All of that name."""
        return self._head.values(name)

    async def read(self, limit: int) -> bytes:
        """The body; of a longer one the first ``limit`` + 1 bytes, which tell that it is longer. Without a thread where
        all of it came with the head. Raises UpstreamUnreachable, UpstreamTimeout or UpstreamBroken."""
        if self._over or self.body.finished:
            return b""
        work = partial(self._content, limit)
        try:
            if self.length is not None and self.length <= len(self.connection.ahead):
                return work()
            return await self._client.in_thread(
                work, self.connection.interrupt, lambda _: None, self._until, self._target
            )
        except (OSError, AnswerMalformed) as cause:
            raise self._fault(cause) from cause

    def _content(self, limit: int) -> bytes:
        content, room = io.BytesIO(), memoryview(bytearray(min(limit + 1, _PIECE)))
        while (left := limit + 1 - content.tell()) and (count := self.body.readinto(room[:left])):
            content.write(room[:count])
        return content.getvalue()

    def _fault(self, cause: Exception) -> UpstreamFault:
        name = self._client.upstream
        if isinstance(cause, TimeoutError):
            return UpstreamTimeout(name, f"{self._target} stopped within its answer")
        if isinstance(cause, OSError):
            return UpstreamUnreachable(name, f"{self._target} broke off its answer")
        return UpstreamBroken(name, f"{self._target} did not answer in HTTP: {cause}")

    def release(self) -> None:
        """The body was read to its end: another request may follow on the connection, where nothing came behind it.
        Once, and not after ``discard``."""
        self._over = True
        if self._framed.persistent and not self.connection.ahead:
            self._pool.give_back(self.connection)
        else:
            self.connection.close()

    def discard(self) -> None:
        """The connection is of no use any more."""
        self._over = True
        self.connection.close()

    async def close(self) -> None:
        """Gives the connection back where the body was read to its end. Idempotent."""
        if self._over:
            return
        if self.body.finished:
            self.release()
        else:
            self.discard()
