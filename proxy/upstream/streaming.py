"""The client for blob bodies: opens them in threads of its own, and leaves the body to whoever moves bytes.

The loop only waits for headers; a body goes from the socket to a buffer in the mover's thread, without the loop.
"""

import asyncio
import http.client
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from proxy.core.errors import UpstreamTimeout, UpstreamUnreachable
from proxy.upstream.address import AddressPolicy
from proxy.upstream.connections import ConnectionPool
from proxy.upstream.message import HostClass, Request
from proxy.upstream.opening import OpenedAnswer, Opening
from proxy.upstream.settings import RegistrySettings, Trust
from proxy.upstream.target import Target

T = TypeVar("T")
_CLOSING = "its client is closing"
OPENERS = 64  # threads that wait for headers, at most, for one upstream


class StreamingClient:
    """The connections and opening threads of one upstream."""

    def __init__(self, settings: RegistrySettings, addresses: AddressPolicy, trust: Trust) -> None:
        connect, idle = settings.limits.connect, settings.limits.idle
        self._settings = settings
        self._pools = {
            HostClass.HOME: ConnectionPool(addresses.admit_home, trust.home, connect, idle),
            HostClass.AWAY: ConnectionPool(addresses.admit_away, trust.others, connect, idle),
        }
        self._openers = ThreadPoolExecutor(OPENERS, thread_name_prefix=f"open-{settings.name}")
        self._closed = False
        self._aloft: set[Callable[[], None]] = set()

    async def send(self, request: Request) -> "StreamingAnswer":
        opening = Opening(self._settings, self._pools[request.host_class], request)
        late = f"{request.target} did not answer in time"
        opened = await self._off_loop(opening.run, opening.abandon, _discard_late, request.total, late)
        return StreamingAnswer(self, request.target, opened)

    async def read(self, target: Target, opened: OpenedAnswer, limit: int) -> bytes:
        """Raises UpstreamTimeout or UpstreamUnreachable."""
        late = f"{target} did not finish its answer in time"

        def read() -> bytes:
            return opened.response.read(limit)

        try:
            return await self._off_loop(read, opened.connection.interrupt, _ignore, self._settings.limits.total, late)
        except (OSError, http.client.HTTPException, ValueError) as cause:
            raise UpstreamUnreachable(self._settings.name, f"{target} broke off its answer") from cause

    async def close(self) -> None:
        self._closed = True
        for wake in list(self._aloft):
            wake()
        self._openers.shutdown(wait=False, cancel_futures=True)
        for pool in self._pools.values():
            pool.close_all()

    async def _off_loop(
        self,
        run: Callable[[], T],
        wake: Callable[[], None],
        settle: Callable[[Future[T]], None],
        total: float,
        late: str,
    ) -> T:
        """Runs in a thread. When nobody waits any more ``wake`` gets the thread out of its call, and ``settle``
        clears away what it may still bring."""
        if self._closed:
            raise UpstreamUnreachable(self._settings.name, _CLOSING)
        task = self._openers.submit(run)
        landing = asyncio.wrap_future(task)
        self._aloft.add(wake)
        try:
            done, _ = await asyncio.wait([landing], timeout=total)
            if not done:
                raise UpstreamTimeout(self._settings.name, late)
        except BaseException:
            landing.cancel()
            wake()
            task.add_done_callback(settle)
            raise
        finally:
            self._aloft.discard(wake)
        if landing.cancelled():
            raise UpstreamUnreachable(self._settings.name, _CLOSING)
        return landing.result()


def _discard_late(task: "Future[OpenedAnswer]") -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().discard()


def _ignore(task: "Future[bytes]") -> None:
    """Bytes need no clearing away."""


class StreamingAnswer:
    """Owns its connection until ``take``."""

    def __init__(self, sender: StreamingClient, target: Target, opened: OpenedAnswer) -> None:
        self._sender = sender
        self._target = target
        self._opened: OpenedAnswer | None = opened
        self._response = opened.response
        self.status = opened.response.status
        self.length = opened.response.length  # of the body, None where it was not promised

    def header(self, name: str) -> str | None:
        return self._response.headers.get(name)

    def headers(self, name: str) -> list[str]:
        return [str(value) for value in self._response.headers.get_all(name, [])]

    async def read(self, limit: int) -> bytes:
        opened = self._opened
        if opened is None or self._response.length == 0:
            return b""
        return await self._sender.read(self._target, opened, limit + 1)

    def take(self) -> OpenedAnswer:
        """The body's connection now belongs to the caller. Once, and not after ``close``."""
        opened, self._opened = self._opened, None
        if opened is None:
            raise RuntimeError("the answer is closed or taken")
        return opened

    async def close(self) -> None:
        if self._opened is None:
            return
        opened = self.take()
        if self._response.isclosed() or self._response.length == 0:
            opened.release()
        else:
            opened.discard()
