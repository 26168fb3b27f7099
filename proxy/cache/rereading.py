"""Held content read again from its home and compared with its digest, no faster than a pace allows."""

import logging
import os
from dataclasses import dataclass
from functools import partial

from proxy.cache.body import HeldBody
from proxy.cache.threads import StoreThreads
from proxy.core.errors import StoreFailed
from proxy.core.names import Hasher
from proxy.storage.contract import Content
from proxy.tasks.off_loop import off_loop
from proxy.tasks.shared_pace import SharedPace

log = logging.getLogger("entrepot.scrub")

RATE = 20_000_000  # bytes per second, of all that is read again without anybody waiting for it
_STEP = 1 << 20  # bytes
_TURN = 1 << 17  # bytes hashed before the core is offered to whoever waits for it, such as the event loop


@dataclass(slots=True)
class ReadCount:
    """How far one verification is, within a large content too."""

    bytes: int = 0


async def agrees(body: HeldBody, content: Content, threads: StoreThreads, pace: SharedPace, read: ReadCount) -> bool:
    """Are these the bytes of its digest? What cannot be read is not."""
    hasher = Hasher(content.digest)
    while hasher.count < content.size:
        before = hasher.count
        try:
            await off_loop(threads.behind, partial(_read_on, body, hasher))
        except StoreFailed as cause:
            log.error("%s cannot be read: %s", content.digest, cause)
            return False
        if hasher.count == before:
            return False
        read.bytes += hasher.count - before
        await pace.spend(hasher.count - before)
    return hasher.agrees()


def _read_on(body: HeldBody, hasher: Hasher) -> None:
    read = memoryview(body.reader.read(hasher.count, _STEP))
    for start in range(0, len(read), _TURN):
        hasher.update(read[start : start + _TURN])
        os.sched_yield()
