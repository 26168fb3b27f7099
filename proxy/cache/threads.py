"""The threads that blocking calls run in. Several pools, so that one kind of work cannot starve another."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

_MOST_EXTRA = 64


class Threads(NamedTuple):
    movers: ThreadPoolExecutor  # one for each fill
    extra: ThreadPoolExecutor  # one for each further transfer of a fill, for no more than ``extras``
    extras: int
    provers: ThreadPoolExecutor  # hashing what came before its turn; as many as can work at once
    passers: ThreadPoolExecutor  # passages hold one only while a chunk is under way
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
