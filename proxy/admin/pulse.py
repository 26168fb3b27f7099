"""A sign of life between the events of something long."""

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

T = TypeVar("T")


async def with_pulse(events: AsyncGenerator[T, None], silence: float) -> AsyncGenerator[T | None, None]:
    """The events, and None whenever there was none for ``silence`` seconds. Its task is its own: it is over when this
    is closed."""
    coming = asyncio.ensure_future(anext(events, _END))
    try:
        while True:
            if not (await asyncio.wait([coming], timeout=silence))[0]:
                yield None
                continue
            event = coming.result()
            if isinstance(event, _End):
                return
            yield event
            coming = asyncio.ensure_future(anext(events, _END))
    finally:
        coming.cancel()
        await asyncio.wait([coming])


class _End:
    pass


_END = _End()
