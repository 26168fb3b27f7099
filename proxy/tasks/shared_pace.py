"""A bound on bytes per second that several have in common."""

import asyncio


class SharedPace:
    """Shared by all that must not take more than ``rate`` bytes per second together."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._due = 0.0

    def is_free(self) -> bool:
        """Whether the next bytes may follow now."""
        return self._due <= asyncio.get_running_loop().time()

    def owe(self, size: int) -> None:
        """Counts what went out, and leaves the wait to who comes next."""
        self._due = max(self._due, asyncio.get_running_loop().time()) + size / self._rate

    async def spend(self, size: int) -> None:
        """Returns when the next bytes may follow these."""
        self.owe(size)
        await self.turn()

    async def turn(self) -> None:
        """Returns when what is owed by now is paid."""
        await asyncio.sleep(max(0.0, self._due - asyncio.get_running_loop().time()))
