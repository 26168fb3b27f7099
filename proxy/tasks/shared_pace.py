"""A bound on bytes per second that several have in common."""

import asyncio


class SharedPace:
    """Shared by all that must not take more than ``rate`` bytes per second together."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._due = 0.0

    async def spend(self, size: int) -> None:
        """Returns when the next bytes may follow these."""
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now) + size / self._rate
        await asyncio.sleep(max(0.0, self._due - now))
