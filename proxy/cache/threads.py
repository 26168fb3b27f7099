"""The threads that blocking calls run in. Several pools, so that one kind of work cannot starve another."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple


class Threads(NamedTuple):
    movers: ThreadPoolExecutor  # one for each fill
    passers: ThreadPoolExecutor  # passages hold one only while a chunk is under way
    store: ThreadPoolExecutor  # opening, committing, removing
    readers: ThreadPoolExecutor  # bytes of homes that have no files


@contextmanager
def start_threads(fills: int) -> Iterator[Threads]:
    """Waits at the end for what still runs."""
    pools = Threads(
        ThreadPoolExecutor(fills, thread_name_prefix="mover"),
        ThreadPoolExecutor(16, thread_name_prefix="passer"),
        ThreadPoolExecutor(8, thread_name_prefix="store"),
        ThreadPoolExecutor(4, thread_name_prefix="reader"),
    )
    try:
        yield pools
    finally:
        for pool in pools:
            pool.shutdown(wait=True, cancel_futures=True)
