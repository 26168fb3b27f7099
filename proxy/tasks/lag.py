"""How late the event loop is: the first thing to look at when everything is slow."""

import asyncio
from collections import deque

_EVERY = 0.1  # seconds
_SAMPLES = 600  # the last minute


class LoopLag:
    """Seconds by which a sleep overslept, over the last minute."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=_SAMPLES)

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _EVERY
            await asyncio.sleep(_EVERY)
            self._samples.append(max(0.0, loop.time() - due))

    def quantiles(self) -> dict[tuple[str, ...], float]:
        """By the label ``quantile``."""
        ordered = sorted(self._samples) or [0.0]
        return {
            (text,): ordered[min(len(ordered) - 1, int(float(text) * len(ordered)))] for text in ("0.5", "0.99", "1")
        }
