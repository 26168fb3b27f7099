"""What a proxy has written of what it was asked: looked at when it is there, and not before."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.scenarios.client import Reply


async def marked(log: Path, get: Callable[[str], Awaitable[Reply]]) -> None:
    """Until the log has a line of its own that was written behind all others: lines come in their order, and late."""
    mark = f"/marked/{secrets.token_hex(8)}"
    assert (await get(mark)).status == 404
    async with asyncio.timeout(30):
        while mark not in log.read_text():
            await asyncio.sleep(0.01)
