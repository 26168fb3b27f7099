"""Hangups, which ask a daemon to read its configuration again. One that comes before there is anything to reload, or
while all is coming down, waits instead of ending the process.
"""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_HANGUP = frozenset({signal.SIGHUP})


def hold_hangups() -> None:
    """From now on they wait. Threads that are begun later hear none."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANGUP)


@contextmanager
def hangups_held() -> Iterator[None]:
    """They wait meanwhile; afterwards it is as it was before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANGUP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def on_hangup(loop: asyncio.AbstractEventLoop, heard: Callable[[], object]) -> Iterator[None]:
    """``heard`` is called in the loop for each, for those first that have waited; inside ``hangups_held``."""
    loop.add_signal_handler(signal.SIGHUP, heard)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANGUP)
    try:
        yield
    finally:
        hold_hangups()
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # threads that were begun meanwhile do hear it
