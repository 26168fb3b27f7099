"""The threads that wait for upstreams' headers and small bodies: as many as there may be questions in the air."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from proxy.tasks.off_loop import landing
from proxy.tasks.places import Places

T = TypeVar("T")

MOST = 64  # for one upstream; all together have twice as many


class AskThreads:
    """Shared by upstreams, and fairly: one that never answers leaves threads to the others. None is made before it is
    needed."""

    def __init__(self, most: int = MOST) -> None:
        self._places = Places(most)
        self._threads = ThreadPoolExecutor(2 * most, thread_name_prefix="ask")

    async def run(
        self, upstream: str, work: Callable[[], T], interrupt: Callable[[], None], give_back: Callable[[T], None]
    ) -> T:
        """As ``off_loop``. A place is free again when its thread is, and not when nobody waits for it any more."""
        await self._places.take(upstream)
        try:
            coming = self._threads.submit(work)
        except BaseException:
            self._places.give_back(upstream)
            raise
        coming.add_done_callback(partial(self._done, asyncio.get_running_loop(), upstream))
        return await landing(coming, interrupt, give_back)

    def close(self) -> None:
        """Those at work end with it."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _done(self, loop: asyncio.AbstractEventLoop, upstream: str, _: "Future[Any]") -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody waits for a place
            loop.call_soon_threadsafe(self._places.give_back, upstream)
