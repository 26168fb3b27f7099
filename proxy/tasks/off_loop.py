"""The one way to make a blocking call from a coroutine."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")


def _nothing() -> None:
    return


async def off_loop(
    pool: Executor,
    work: Callable[[], T],
    interrupt: Callable[[], None] = _nothing,
    give_back: Callable[[T], None] | None = None,
) -> T:
    """What ``work`` returns or raises, run in a thread of ``pool``. Raises RuntimeError where the pool is shut down.

    The rule for a caller that is cancelled: a call that has not begun never begins. One that has begun is interrupted,
    and waited for, so that nobody closes what the thread still uses. With ``give_back`` it is not waited for: what it
    brings late is given back, from the thread.
    """
    return await landing(pool.submit(work), interrupt, give_back)


async def landing(
    coming: "Future[T]", interrupt: Callable[[], None], give_back: Callable[[T], None] | None = None
) -> T:
    """What a thread brings for ``coming``, under the same rule."""
    try:
        return await asyncio.wrap_future(coming)
    except asyncio.CancelledError:
        if not coming.cancel():
            interrupt()
            if give_back is not None:
                coming.add_done_callback(lambda come: _give_back(come, give_back))
            else:
                await _out(coming)
        raise


async def _out(coming: "Future[T]") -> None:
    """However often the caller is cancelled meanwhile."""
    landed = asyncio.wrap_future(coming)
    while not landed.done():
        try:
            await asyncio.wait([landed])
        except asyncio.CancelledError:
            continue
    landed.exception()


def _give_back(come: "Future[T]", give_back: Callable[[T], None]) -> None:
    if not come.cancelled() and come.exception() is None:
        give_back(come.result())
