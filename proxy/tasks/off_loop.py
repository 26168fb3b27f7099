"""The one way to make a blocking call from a coroutine, and such calls in a row."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def one_behind(pool: Executor) -> AsyncIterator[Callable[[Callable[[], None]], Awaitable[None]]]:
    """Calls one after the other, each of which is waited for with the next one: whoever has the work goes on meanwhile.
    What a call raises is raised there, or at the end; none still runs when this is left."""
    coming: Future[None] | None = None

    async def over() -> None:
        nonlocal coming
        if coming is not None:
            last, coming = coming, None
            await landing(last, _nothing)

    async def take(work: Callable[[], None]) -> None:
        nonlocal coming
        await over()
        coming = pool.submit(work)

    try:
        yield take
        await over()
    finally:
        if coming is not None:
            await _out(coming)


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
