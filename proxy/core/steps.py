"""Work that may be long, as steps that are short: a generator that pauses between two of them and returns what it made.

Whoever waits for it decides what happens in the pauses; ``tasks.turns`` lets the event loop serve others.
"""

from collections.abc import Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")

Steps: TypeAlias = Generator[None, None, T]


def at_once(steps: Steps[T]) -> T:
    """What the steps make, without a pause: for what is known to be small, and where nobody else waits."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            made: T = end.value
            return made
