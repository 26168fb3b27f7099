"""Places that are shared fairly: threads, connections and the like that several upstreams draw on."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from proxy.core.fair_shares import FairShares


def _nobody() -> None:
    return


class Places:
    """By the name of who holds them: ``most`` for one, and at most twice as many in all. Those who wait are served in
    turn, name by name, and in the order in which they came among those of one name. ``crowded`` is called when somebody
    begins to wait."""

    def __init__(self, most: int, crowded: Callable[[], None] = _nobody) -> None:
        self._crowded = crowded
        self._shares: FairShares[str] = FairShares(most)
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # who was served last comes last

    @property
    def wanted(self) -> int:
        """How many wait for one."""
        return sum(map(len, self._waiting.values()))

    def admits(self, name: str) -> bool:
        """Would ``take`` return at once?"""
        return name not in self._waiting and self._shares.admits(name)

    def take_now(self, name: str) -> bool:
        """False where none is to be had at once."""
        if not self.admits(name):
            return False
        self._shares.take(name)
        return True

    async def take(self, name: str) -> None:
        """Waits for its turn. Each place is given back once."""
        if self.take_now(name):
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, deque()).append(turn)
        try:
            self._crowded()
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(name)  # it came in the same step
            else:
                self._leave(name, turn)
            raise

    def give_back(self, name: str) -> None:
        self._shares.give_back(name)
        while (following := self._shares.next(self._waiting)) is not None:
            turn = self._waiting[following][0]
            self._leave(following, turn)
            if turn.cancelled():
                continue
            if following in self._waiting:
                self._waiting[following] = self._waiting.pop(following)
            self._shares.take(following)
            turn.set_result(None)

    @asynccontextmanager
    async def place(self, name: str) -> AsyncIterator[None]:
        """One of them, for as long as this is open."""
        await self.take(name)
        try:
            yield
        finally:
            self.give_back(name)

    def _leave(self, name: str, turn: "asyncio.Future[None]") -> None:
        waiting = self._waiting.get(name)
        if waiting is not None and turn in waiting:
            waiting.remove(turn)
            if not waiting:
                del self._waiting[name]
