"""The threads that blocking calls run in. Several pools, so that one kind of work cannot starve another.

Where a thread may have to wait for an upstream, a place of ``tasks.places`` is had before it, so the pools of movers,
extra and pass-through have twice the threads that one upstream may use. The others wait for disk and processor only.
"""

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

_MOST_EXTRA = 64  # for one upstream
_PASS_THROUGH = 32  # for one upstream


class StoreThreads(NamedTuple):
    """For calls of the store, apart by what they may have to wait for: a hit only opens, and never waits behind the
    syncs of other blobs."""

    opening: Executor  # opening what is held, and reading what is small
    committing: Executor  # beginning, writing and committing ingests
    removing: Executor  # removing, aborting, putting into quarantine
    behind: Executor  # what nobody waits for: listing, comparing, reading again


class Threads(NamedTuple):
    movers: ThreadPoolExecutor  # one for each fill
    extra: ThreadPoolExecutor  # one for each further transfer of a fill, for no more than ``extras``
    extras: int  # for one upstream
    provers: ThreadPoolExecutor  # hashing what came before its turn; as many as can work at once
    pass_through: ThreadPoolExecutor  # pass-throughs hold one only while a chunk is under way
    chunks: int  # of them at a time, for one upstream
    store: StoreThreads


@contextmanager
def start_threads(fills: int, per_blob: int = 4) -> Iterator[Threads]:
    """For so many fills of one upstream, of so many transfers each. Waits at the end for what still runs."""
    extras = min(_MOST_EXTRA, fills * (per_blob - 1))
    with ExitStack() as opened:

        def pool(size: int, name: str) -> ThreadPoolExecutor:
            # It ends after what is queued: the ingests of the last fills are aborted there.
            return opened.enter_context(ThreadPoolExecutor(size, thread_name_prefix=name))

        yield Threads(
            pool(2 * fills, "mover"),
            pool(max(1, 2 * extras), "extra"),
            extras,
            pool(os.cpu_count() or 1, "prover"),
            pool(2 * _PASS_THROUGH, "pass-through"),
            _PASS_THROUGH,
            StoreThreads(pool(8, "open"), pool(16, "commit"), pool(4, "remove"), pool(4, "behind")),
        )
