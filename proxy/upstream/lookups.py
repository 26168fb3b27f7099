"""Whether a host that only a pattern stands for is there at all, before anything costly is done for it.

Whoever may pull can make up names. Each is looked up in threads of their own, so that a resolver that does not answer
for them keeps no look-up of a named host waiting.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from socket import EAI_AGAIN, gaierror, getaddrinfo

from proxy.core.errors import Outage, UpstreamUnreachable, afresh
from proxy.core.tables import BoundedTable, Tables
from proxy.tasks.flights import Flights
from proxy.tasks.jobs import Jobs
from proxy.tasks.off_loop import off_loop
from proxy.upstream.egress import WayClosed, WaysOut
from proxy.upstream.target import Origin

Find = Callable[[], Awaitable[None]]
"""Returns where the host is there. Raises UpstreamUnreachable."""

THREADS = 4
PATIENCE = 5.0  # seconds
_ABSENT_FOR = 5.0  # seconds
_FOUND_FOR = 3600.0  # seconds
_LIMIT = 1 << 20  # bytes


class Lookups:
    """Of hosts of patterns, each at most once at a time."""

    def __init__(self, jobs: Jobs, tables: Tables) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="look-up")
        self._flights: Flights[str, None] = Flights(jobs.group)
        self._found: BoundedTable[str, bool] = tables.table("hosts found", _LIMIT, _FOUND_FOR, str)
        self._absent: BoundedTable[str, Outage] = tables.table("hosts not found", _LIMIT, _ABSENT_FOR, str)

    async def find(self, upstream: str, ways: WaysOut, home: Origin) -> None:
        """``Find`` of an upstream at ``home``; behind a proxy it is the proxy that looks it up."""
        if upstream in self._found:
            return
        absent = self._absent.get(upstream)
        if absent is not None:
            raise afresh(absent)
        await self._flights.join(upstream, partial(self._look_up, upstream, ways, home))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _look_up(self, upstream: str, ways: WaysOut, home: Origin) -> None:
        try:
            if await ways.to(home) is None:
                async with asyncio.timeout(PATIENCE):
                    work = partial(_resolve, home.host, home.port)
                    await off_loop(self._threads, work, give_back=lambda _: None)
        except (OSError, UnicodeError, TimeoutError, WayClosed) as cause:
            reason = getattr(cause, "strerror", None) or str(cause) or "its name was not found in time"
            fault = UpstreamUnreachable(upstream, f"no connection to {home}: {reason}", str(home))
            self._absent.put(upstream, fault)
            raise fault from cause
        self._found.put(upstream, True)


def _resolve(host: str, port: int) -> None:
    """Blocks. A resolver may hiccup once."""
    try:
        getaddrinfo(host, port)
    except gaierror as hiccup:
        if hiccup.errno != EAI_AGAIN:
            raise
        getaddrinfo(host, port)
