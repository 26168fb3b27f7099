"""The bodies of blobs: who sends them, what a Range does, and what a scene puts in their place."""

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import replace

from proxy.core.names import Digest
from tests.cast import Act, Line, Seen, roles
from tests.zoo.manners import Ranges
from tests.zoo.ranges import bounded


class Bodies:
    """``closes``: the connection ends with each body. ``shown`` counts what was met."""

    def __init__(self, shown: Counter[str], *, closes: bool) -> None:
        self.instead: deque[Act] = deque()  # of the next bodies that would be sent
        self.gate: asyncio.Event | None = None  # before each answer with content
        self._shown = shown
        self._closes = closes
        self._sending: list[Seen] = []

    async def opened(self) -> None:
        if self.gate is not None:
            self._shown["waited for the gate"] += 1
            await self.gate.wait()

    def of(self, digest: Digest) -> list[Seen]:
        """Requests that brought bytes of it."""
        return [seen for seen in self._sending if digest.encoded in seen.target and seen.sent]

    async def send(self, line: Line, headers: Mapping[str, str], ranges: Ranges) -> None:
        """Obeys ``ranges``, but for refusals."""
        _, last = bounded(line.range)
        if ranges is Ranges.IGNORED or (ranges is Ranges.OPEN_END_IGNORED and last is None):
            line.range = ""
        act: Act = roles.steady
        if line.seen.method == "GET":
            self._sending.append(line.seen)
            await self.opened()
            act = self.instead.popleft() if self.instead else act
        close = {"Connection": "close"} if self._closes else {}
        line.content = replace(line.content, headers={**line.content.headers, **headers, **close})
        await act(line)
        if self._closes and line.open:
            line.finish()

    def refusal(self, line: Line, ranges: Ranges) -> int | None:
        """The status with which a Range is refused; None where it is not."""
        if not line.range:
            return None
        if ranges is not Ranges.SERVED:
            self._shown[f"range {ranges.value}"] += 1
        first, last = bounded(line.range)
        match ranges:
            case Ranges.REFUSED_400:
                return 400
            case Ranges.REFUSED_403:
                return 403
            case Ranges.SINGLE_BYTE_REFUSED if first == last:
                return 416
            case _:
                return None
