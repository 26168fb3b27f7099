"""What each caller may take at a time, by the rule that lets him in: bytes per second, and blobs to be fetched.

Whoever is held back waits, and is not refused. What is in memory is answered in one step as long as nothing is owed for
what went before.
"""

from typing import NamedTuple

from proxy.cache.answers import BlobAnswer, Outcome
from proxy.cache.blobs import Blobs
from proxy.cache.body import Body, FilePiece
from proxy.core.access import Caller
from proxy.core.allow import AllowRule
from proxy.core.doors import network_of
from proxy.core.operations import BlobPull
from proxy.core.tables import BoundedTable
from proxy.tasks.places import Places
from proxy.tasks.shared_pace import SharedPace

_KEPT = 4 << 20  # bytes
_SHARE = 2000  # bytes that one share takes
_PORTION = 1 << 20  # bytes that go out in one piece, at most
_OFTEN = 20  # pieces in a second


class _Share(NamedTuple):
    """What one caller has of one rule."""

    fills: Places | None
    pace: SharedPace | None
    portion: int  # bytes


class Fairness:
    """A caller is a user, or a network where nobody has logged in."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._shares: BoundedTable[tuple[str, AllowRule], _Share] = BoundedTable(_KEPT, weigh=lambda _: _SHARE)

    async def blob(self, rule: AllowRule, caller: Caller, address: str, pull: BlobPull) -> BlobAnswer:
        """As ``Blobs.get``, within what the rule lets the caller take."""
        share = self._share(rule, caller, address)
        answer, place = await self._placed(share, pull)
        body = _Measured(answer.body, share, place)
        return answer._replace(body=body)

    def takes(self, rule: AllowRule, caller: Caller, address: str, size: int) -> bool:
        """Whether so many bytes are within his rate now. Then they count."""
        pace = self._share(rule, caller, address).pace
        if pace is None or not size:
            return True
        if not pace.is_free():
            return False
        pace.owe(size)
        return True

    async def pay(self, rule: AllowRule, caller: Caller, address: str, size: int) -> None:
        """Until so many bytes are within his rate."""
        pace = self._share(rule, caller, address).pace
        if pace is not None and size:
            await pace.spend(size)

    async def _placed(self, share: _Share, pull: BlobPull) -> tuple[BlobAnswer, Places | None]:
        """The answer, and where it holds a place until it is closed."""
        places = share.fills
        if places is None or await self._blobs.is_held(pull.repository, pull.digest):
            return await self._blobs.get(pull.repository, pull.digest), None
        await places.take(_ITS_OWN)
        try:
            answer = await self._blobs.get(pull.repository, pull.digest)
        except BaseException:
            places.give_back(_ITS_OWN)
            raise
        if answer.outcome is Outcome.HIT:
            places.give_back(_ITS_OWN)
            return answer, None
        return answer, places

    def _share(self, rule: AllowRule, caller: Caller, address: str) -> _Share:
        who = f"user {caller.name}" if caller.name else f"network {network_of(address)}"
        share = self._shares.get((who, rule))
        if share is None:
            fills = Places(rule.fills) if rule.fills is not None else None
            pace = SharedPace(rule.rate) if rule.rate is not None else None
            portion = min(_PORTION, max(1, (rule.rate or 0) // _OFTEN))
            share = _Share(fills, pace, portion)
            self._shares.put((who, rule), share)
        return share


_ITS_OWN = ""
"""Places of one caller are shared with nobody."""


class _Measured:
    """A body that goes out at the pace of its caller, and holds his place until it is closed."""

    def __init__(self, body: Body, share: _Share, place: Places | None) -> None:
        self.size = body.size
        self._body = body
        self._share = share
        self._place = place
        self._owed = 0  # bytes of the last piece

    def ready(self, position: int) -> bool:
        return self._body.ready(position)

    async def piece(self, position: int, end: int | None) -> FilePiece | bytes:
        pace = self._share.pace
        if pace is None:
            return await self._body.piece(position, end)
        pace.owe(self._owed)
        self._owed = 0
        await pace.turn()
        stop = position + self._share.portion
        piece = await self._body.piece(position, stop if end is None else min(stop, end))
        if not isinstance(piece, FilePiece):
            self._owed = len(piece)
            return piece
        self._owed = piece.end - piece.start
        return piece._replace(more=None)  # what comes meanwhile has not been paid for

    async def discard(self) -> None:
        await self._body.discard()

    def close(self) -> None:
        self._body.close()
        if self._owed and self._share.pace is not None:
            self._share.pace.owe(self._owed)
            self._owed = 0
        if self._place is not None:
            self._place.give_back(_ITS_OWN)
            self._place = None
