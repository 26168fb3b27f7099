"""Long work of the event loop in short steps, with everybody else between two of them."""

import asyncio
from typing import TypeVar

from proxy.core.steps import Steps

T = TypeVar("T")

_SHORT = 20  # steps


class Turns:
    """One step of all work that is in the air in each round of the loop, in turn: however many documents come at once,
    who waits for the loop waits for one step. A thread would not do: it holds the interpreter lock for as long.

    What turns out to be long is done one after the other, so that there is one half-made document of that kind and not
    many, which the collector of garbage would walk through; what is short passes it by.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()  # first come, first served
        self._long = asyncio.Lock()

    async def run(self, steps: Steps[T]) -> T:
        """What the steps make, or raise; those that are one step are done before anything is awaited."""
        try:
            next(steps)
            for _ in range(_SHORT):
                async with self._turn:
                    await asyncio.sleep(0)
                    next(steps)
            async with self._long:
                while True:
                    async with self._turn:
                        await asyncio.sleep(0)
                        next(steps)
        except StopIteration as end:
            made: T = end.value
            return made
