"""The client for blob bodies: opens them in threads of its own, and leaves the body to whoever moves bytes.

The loop only waits for headers; a body goes from the socket to a buffer in the mover's thread, without the loop.
"""

import asyncio
import http.client
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from proxy.core.errors import Hint, UpstreamBroken, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from proxy.tasks.off_loop import off_loop
from proxy.upstream.address import AddressForbidden
from proxy.upstream.connections import ConnectionPool, UpstreamConnection
from proxy.upstream.egress import Proxy, ProxyFailed
from proxy.upstream.health import Stats
from proxy.upstream.message import USER_AGENT, HostClass, Request
from proxy.upstream.passage import Passages, led_astray
from proxy.upstream.settings import RegistrySettings
from proxy.upstream.target import Target

T = TypeVar("T")
OPENERS = 64  # threads that wait for headers, at most, for one upstream


class StreamingClient:
    """The connections and opening threads of one upstream; no thread is made before the first request."""

    def __init__(self, settings: RegistrySettings, passages: Passages, stats: Stats) -> None:
        connect, idle = settings.limits.connect, settings.limits.idle
        self._settings = settings
        self._stats = stats
        self._passages = passages
        self._pools = {host_class: ConnectionPool(passages.of(host_class), connect, idle) for host_class in HostClass}
        self._openers = ThreadPoolExecutor(OPENERS, thread_name_prefix=f"open-{settings.name}")
        self._closed = False
        self._aloft: set[Callable[[], None]] = set()

    async def send(self, request: Request) -> "StreamingAnswer":
        """Raises UpstreamUnreachable, UpstreamTimeout or UpstreamBroken."""
        try:
            proxy = None if self._passages.straight else await self._passages.proxy(request)
            opening = _Opening(self, self._settings, self._pools[request.host_class], request, proxy)
            answer = await self.in_thread(
                opening.run, opening.abandon, StreamingAnswer.discard, request.total, request.target
            )
        except UpstreamFault as fault:
            self._stats.failed(request.kind, fault)
            raise
        self._stats.answered(request.kind, answer.status, answer.response.headers.get("ratelimit-remaining"))
        return answer

    async def in_thread(
        self,
        work: Callable[[], T],
        interrupt: Callable[[], None],
        give_back: Callable[[T], None],
        total: float,
        target: Target,
    ) -> T:
        """What ``work`` returns within ``total`` seconds. Nobody waits for a thread longer than that: resolving a name
        cannot be interrupted, so what comes late is given back. Raises UpstreamUnreachable, UpstreamTimeout."""
        if self._closed:
            raise UpstreamUnreachable(self._settings.name, "its client is closing")
        self._aloft.add(interrupt)
        try:
            async with asyncio.timeout(total):
                return await off_loop(self._openers, work, interrupt, give_back)
        except TimeoutError as late:
            raise UpstreamTimeout(self._settings.name, f"{target} did not answer in time") from late
        finally:
            self._aloft.discard(interrupt)

    def reconnect(self) -> None:
        """What is asked from now on goes over new connections."""
        for pool in self._pools.values():
            pool.close_idle()

    async def close(self) -> None:
        """What is being opened fails at once; bodies under way are their movers'."""
        self._closed = True
        for interrupt in list(self._aloft):
            interrupt()
        self._openers.shutdown(wait=False)
        for pool in self._pools.values():
            pool.close_all()


class _Opening:
    """Opening one request: take an idle connection or connect, send, read status and headers. Blocks; ``abandon`` may
    come from any thread, everything else belongs to the one that opens."""

    def __init__(
        self,
        client: StreamingClient,
        settings: RegistrySettings,
        pool: ConnectionPool,
        request: Request,
        proxy: Proxy | None,
    ) -> None:
        self._client = client
        self._settings = settings
        self._pool = pool
        self._request = request
        self._proxy = proxy
        self._lock = threading.Lock()
        self._connection: UpstreamConnection | None = None
        self._abandoned = False

    def run(self) -> "StreamingAnswer":
        """Raises UpstreamUnreachable, UpstreamTimeout or UpstreamBroken."""
        reused = self._pool.idle(self._request.target.origin, self._proxy)
        try:
            if reused is not None:
                try:
                    return self._ask(reused)
                except (ConnectionError, ssl.SSLError):
                    pass  # the other side had given it up meanwhile; a fresh one tells whether there is more to it
            return self._ask(self._connect())
        except (OSError, http.client.HTTPException, ValueError) as cause:
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

    def _ask(self, connection: UpstreamConnection) -> "StreamingAnswer":
        request = self._request
        try:
            with self._lock:
                self._connection = connection
                if self._abandoned:
                    connection.interrupt()
            headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **request.headers}
            limits = self._settings.limits
            response = connection.request(request.method, request.target.path, headers, limits.first_byte, limits.stall)
            if len(set(response.headers.get_all("Content-Length", []))) > 1:
                response.close()
                raise http.client.HTTPException("two lengths")
        except BaseException:
            connection.close()
            raise
        return StreamingAnswer(self._client, self._settings, self._pool, request.target, connection, response)

    def _fault(self, cause: Exception) -> UpstreamFault:
        name, target = self._settings.name, self._request.target
        if isinstance(cause, TimeoutError):
            return UpstreamTimeout(name, f"{target} did not answer in time")
        if isinstance(cause, ProxyFailed):
            return UpstreamUnreachable(name, f"no connection to {target.origin}: {cause}", None, Hint.UNCONNECTED)
        if isinstance(cause, OSError):
            return UpstreamUnreachable(name, f"{target} closed the connection without an answer")
        return UpstreamBroken(name, f"{target} did not answer in HTTP ({type(cause).__name__})")


class StreamingAnswer:
    """``message.Answer``: a connection with an answer on it, and the right to use it until ``release`` or
    ``discard``."""

    def __init__(
        self,
        client: StreamingClient,
        settings: RegistrySettings,
        pool: ConnectionPool,
        target: Target,
        connection: UpstreamConnection,
        response: http.client.HTTPResponse,
    ) -> None:
        self.connection = connection
        self.response = response
        self.status = response.status
        self.length = response.length  # of the body, None where it was not promised
        self._client = client
        self._settings = settings
        self._pool = pool
        self._target = target
        self._over = False

    def header(self, name: str) -> str | None:
        return self.response.headers.get(name)

    def headers(self, name: str) -> list[str]:
        return [str(value) for value in self.response.headers.get_all(name, [])]

    async def read(self, limit: int) -> bytes:
        """Raises UpstreamTimeout or UpstreamUnreachable."""
        if self._over or self.response.length == 0:
            return b""
        try:
            return await self._client.in_thread(
                lambda: self.response.read(limit + 1),
                self.connection.interrupt,
                lambda _: None,
                self._settings.limits.total,
                self._target,
            )
        except (OSError, http.client.HTTPException, ValueError) as cause:
            raise UpstreamUnreachable(self._settings.name, f"{self._target} broke off its answer") from cause

    def release(self) -> None:
        """The body was read to its end: another request may follow on the connection. Once, and not after
        ``discard``."""
        self._over = True
        self.response.close()
        if self.response.will_close:
            self.connection.close()
        else:
            self._pool.give_back(self.connection)

    def discard(self) -> None:
        """The connection is of no use any more."""
        self._over = True
        self.response.close()
        self.connection.close()

    async def close(self) -> None:
        if self._over:
            return
        if self.response.isclosed() or self.response.length == 0:
            self.release()
        else:
            self.discard()
