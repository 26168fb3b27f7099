"""The threads that blocking calls run in. Several pools, so that one kind of work cannot starve another."""

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

T = TypeVar("T")
_MOST_EXTRA = 64


class Threads(NamedTuple):
    movers: ThreadPoolExecutor  # one for each fill
    extra: ThreadPoolExecutor  # one for each further transfer of a fill, for no more than ``extras``
    extras: int
    provers: ThreadPoolExecutor  # hashing what came before its turn; as many as can work at once
    pass_through: ThreadPoolExecutor  # pass-throughs hold one only while a chunk is under way
    store: ThreadPoolExecutor  # opening, committing, removing
    readers: ThreadPoolExecutor  # bytes of homes that have no files


@contextmanager
def start_threads(fills: int, per_blob: int = 4) -> Iterator[Threads]:
    """For so many fills of so many transfers each. Waits at the end for what still runs."""
    extras = min(_MOST_EXTRA, fills * (per_blob - 1))
    pools = Threads(
        ThreadPoolExecutor(fills, thread_name_prefix="mover"),
        ThreadPoolExecutor(max(1, extras), thread_name_prefix="extra"),
        extras,
        ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="prover"),
        ThreadPoolExecutor(16, thread_name_prefix="passer"),
        ThreadPoolExecutor(8, thread_name_prefix="store"),
        ThreadPoolExecutor(4, thread_name_prefix="reader"),
    )
    try:
        yield pools
    finally:
        for pool in pools:
            if isinstance(pool, ThreadPoolExecutor):
                pool.shutdown(wait=True)  # after what is queued: the ingests of the last fills are aborted there


async def acquire(threads: Executor, work: Callable[[], T], give_back: Callable[[T], None]) -> T:
    """What a blocking call brings and somebody must end; given back where nobody waits for it any more."""
    coming = threads.submit(work)
    try:
        return await asyncio.wrap_future(coming)
    except asyncio.CancelledError:
        coming.add_done_callback(lambda come: _give_back(come, give_back))
        raise


def _give_back(come: "Future[T]", give_back: Callable[[T], None]) -> None:
    if not come.cancelled() and come.exception() is None:
        give_back(come.result())
