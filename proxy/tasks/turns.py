"""Long work of the event loop in short steps, with everybody else between two of them."""

import asyncio
from typing import TypeVar

from proxy.core.steps import Steps

T = TypeVar("T")


class Turns:
    """One step of all work that is in the air in each round of the loop, in turn: however many documents come at once,
    who waits for the loop waits for one step. A thread would not do: it holds the interpreter lock for as long."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()  # first come, first served

    async def run(self, steps: Steps[T]) -> T:
        """What the steps make, or raise; those that are one step are done before anything is awaited."""
        try:
            next(steps)
            while True:
                async with self._turn:
                    await asyncio.sleep(0)
                    next(steps)
        except StopIteration as end:
            made: T = end.value
            return made
