"""A blob in flight: a file whose end is not known yet.

Movers write, any number of clients read behind them, at any offset. Bytes near the end are held back until the digest
agrees, so no client completes what may be wrong. The fill belongs to the cache: a client that leaves takes nothing with
it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from threading import Condition

from proxy.cache.body import FilePiece
from proxy.cache.pass_through import HELD_BACK, PassThroughBody
from proxy.core.errors import Fault, NoSpace, afresh
from proxy.core.names import Digest, Hasher, Repository
from proxy.core.spans import Spans
from proxy.storage.contract import Ingest

_TURN = 0.0004  # seconds that one waiting reader puts off a wake: about what its turn costs
_LONGEST_TURN = 0.05

CarryOn = Callable[[Hasher, int], Awaitable[PassThroughBody]]
"""The rest of a blob from where the hasher ends, for a reader at a position."""


class Fill:
    """Shared between the mover threads (``arrived`` and ``spans``) and the loop (all else). ``left`` is called when the
    last follower leaves a fill that is under way."""

    def __init__(
        self,
        repository: Repository,
        digest: Digest,
        size: int | None,
        ingest: Ingest,
        left: "Callable[[Fill], None]",
    ) -> None:
        self.repository = repository
        self.digest = digest
        self.size = size
        self.proven = False
        self.fault: Fault | None = None
        self.spilled: Hasher | None = None  # the proof up to where the disk took no more
        self.dropped = False  # since nobody read it
        self.shown = False  # to any client, any of its bytes
        self.followers = 0
        self.origins: set[str] = set()  # the homes that its bytes came from
        self.task: asyncio.Task[None] | None = None  # that runs it
        self.reader = ingest.open()
        self.spans = Spans()  # that are in the file
        self._left = left
        self._moved = Condition()  # one mover at a time adds to the spans
        self._waiting: dict[asyncio.Future[None], int] = {}  # and the position that each waits for
        self._waking = False  # it has been arranged
        self._loop = asyncio.get_running_loop()
        self._ended = False

    @property
    def received(self) -> int:
        """Bytes."""
        return self.spans.total

    @property
    def settled(self) -> bool:
        """It has come to its end, well or not."""
        return self.proven or self.fault is not None or self.spilled is not None

    @property
    def deserted(self) -> bool:
        """It goes on, and nobody reads it."""
        return not self.followers and not self.settled and not self.dropped

    def arrived(self, start: int, end: int) -> None:
        """From a mover thread: these bytes are in the file."""
        with self._moved:
            self.spans.add(start, end)
            self._moved.notify_all()
            if not self._waiting or self._waking:
                return
            self._waking = True
        self._loop.call_soon_threadsafe(self._wake_soon)

    def conceal(self) -> None:
        """What came is wrong, and nobody has been shown any of it: nobody will be."""
        self.spans = Spans()
        self.origins.clear()

    def begin_again(self, ingest: Ingest) -> None:
        """With another file, after ``conceal``."""
        reader = ingest.open()
        self.reader.close()
        self.reader = reader

    def prove(self, size: int) -> None:
        """The digest agrees: nothing is held back any more."""
        self.size = size
        self.proven = True
        self._wake()

    def fail(self, fault: Fault) -> None:
        """It will never be whole: every reader breaks off."""
        self.fault = fault
        self._wake()

    def spill(self, hasher: Hasher) -> None:
        """The disk takes no more: its readers carry on from upstream together."""
        self.spilled = hasher
        self._wake()

    def readable(self, position: int) -> int:
        """The end of what may be sent from ``position``; ``position`` where nothing may."""
        run = self.spans.run_from(position)
        if self.proven:
            return run
        return max(position, min(run, (run if self.size is None else self.size) - HELD_BACK))

    async def wait(self, position: int) -> int:
        """Until something may be sent from ``position``, or nothing more will come; as ``readable``."""
        while (readable := self.readable(position)) <= position and not self.settled:
            woken = self._loop.create_future()
            self._waiting[woken] = position
            # Looked at again now that the mover can see the waiter: bytes that came in between woke nobody.
            try:
                if self.readable(position) <= position and not self.settled:
                    await woken
            finally:
                self._waiting.pop(woken, None)
        return readable

    def more(self, end: int | None, position: int, patience: float) -> int:
        """As ``readable``, up to ``end``, for a thread that has sent what was there: it waits so many seconds."""
        with self._moved:
            readable = self.readable(position)
            if readable <= position and not self.settled:
                self._moved.wait(patience)
                readable = self.readable(position)
        return readable if end is None else min(readable, end)

    def follow(self, carry_on: CarryOn) -> "FillBody | None":
        """A body behind this fill; None when its file is no longer open, or soon will not be."""
        if self.dropped or (self._ended and self.followers == 0):
            return None
        self.followers += 1
        return FillBody(self, carry_on)

    def leave(self) -> None:
        self.followers -= 1
        if self.followers:
            return
        if self._ended:
            self.reader.close()
        else:
            self._left(self)

    def end(self) -> None:
        """The mover is through with it, however it went; the file is closed behind the last follower."""
        self._ended = True
        if self.followers == 0:
            self.reader.close()

    def _wake_soon(self) -> None:
        """The more wait, the more comes together first: a turn of many readers for every chunk would cost more than
        the chunk."""
        self._loop.call_later(min(_TURN * len(self._waiting), _LONGEST_TURN), self._wake)

    def _wake(self) -> None:
        self._waking = False
        if self.settled:
            with self._moved:
                self._moved.notify_all()
        for woken, position in list(self._waiting.items()):
            if self.settled or self.readable(position) > position:
                del self._waiting[woken]
                if not woken.done():
                    woken.set_result(None)


class FillBody:
    """One client's view of a fill."""

    def __init__(self, fill: Fill, carry_on: CarryOn) -> None:
        self.size = fill.size
        self._fill = fill
        self._carry_on = carry_on
        self._pass_through: PassThroughBody | None = None
        self._closed = False

    def ready(self, position: int) -> bool:
        return self._fill.readable(position) > position

    async def piece(self, position: int, end: int | None) -> FilePiece | bytes:
        readable = await self._fill.wait(position)
        if readable > position:
            self._fill.shown = True
            stop = readable if end is None else min(readable, end)
            return FilePiece(self._fill.reader.fileno(), position, stop, partial(self._fill.more, end))
        if self._fill.fault is not None:
            raise self._fill.fault
        if self._fill.spilled is not None:
            return await self._passed_through(self._fill.spilled, position, end)
        return b""

    @property
    def received(self) -> int:
        """Bytes that have come, of whatever part."""
        return self._fill.received

    async def over(self) -> None:
        """Until the fill has come to its end, for one who wants it kept and reads none of it. Raises its fault, and
        NoSpace where the disk took no more."""
        if self._fill.task is not None:
            await asyncio.wait([self._fill.task])
        if self._fill.fault is not None:
            raise afresh(self._fill.fault)
        if self._fill.spilled is not None:
            raise NoSpace(f"there is no room for {self._fill.digest}")

    async def _passed_through(self, proof: Hasher, position: int, end: int | None) -> FilePiece | bytes:
        if self._pass_through is None:
            self._pass_through = await self._carry_on(proof, max(position, proof.count))
        if position < proof.count:  # in the file, but held back until as much has come behind it
            stop = min(proof.count, await self._pass_through.released(position))
            return FilePiece(self._fill.reader.fileno(), position, stop if end is None else min(stop, end))
        return await self._pass_through.piece(position, end)

    async def discard(self) -> None:
        """Nothing of it is held yet."""

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._pass_through is not None:
            self._pass_through.close()
        self._fill.leave()
