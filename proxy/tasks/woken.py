"""A wait that an event may end before its time."""

import asyncio
from collections.abc import Awaitable
from typing import Any


async def woken(event: asyncio.Event, sleeping: Awaitable[None] | None) -> bool:
    """Whether the event came before the sleep was over, which without one has no end."""
    waiting: list[asyncio.Future[Any]] = [asyncio.ensure_future(event.wait())]
    if sleeping is not None:
        waiting.append(asyncio.ensure_future(sleeping))
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return sleeping is None or not waiting[-1].done()
    finally:
        for each in waiting:
            each.cancel()
