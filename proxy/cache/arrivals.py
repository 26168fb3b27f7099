"""The one way in for content: bytes set aside in the budget, an ingest to write to, and, once somebody has proven the
digest, a commit."""

import logging
import time
from functools import partial

from proxy.cache.holdings import Holdings, Provenance
from proxy.cache.space import Space
from proxy.core.budget import Reservation
from proxy.core.errors import NoSpace, StoreFailed
from proxy.core.seldom import Seldom
from proxy.storage.contract import Content, Ingest
from proxy.tasks.off_loop import off_loop

log = logging.getLogger("entrepot.arrivals")


class Arrival:
    """Content on its way in. Ends once, by ``commit`` or ``abort``; a second end does nothing."""

    def __init__(self, ingest: Ingest, reservation: Reservation, space: Space, holdings: Holdings) -> None:
        self.ingest = ingest
        self._reservation = reservation
        self._space = space
        self._holdings = holdings

    async def write(self, whole: bytes) -> None:
        """Something small. Raises NoSpace or StoreFailed."""
        await off_loop(self._holdings.threads.committing, partial(self.ingest.write, 0, whole))

    async def extend(self, size: int) -> bool:
        """True when so many more bytes are set aside."""
        return await self._space.extend(self._reservation, size)

    async def commit(self, content: Content, provenance: Provenance) -> None:
        """What was written, whole and proven, is held from now on. Raises NoSpace or StoreFailed."""
        await self._holdings.commit(self.ingest, content, provenance, self._reservation)

    def abort(self) -> None:
        """Its file goes in the pool's own time: nothing waits for it."""
        self._reservation.release()
        self._holdings.threads.removing.submit(self.ingest.abort)


class Arrivals:
    """Content comes in nowhere else."""

    def __init__(self, holdings: Holdings, space: Space) -> None:
        self._holdings = holdings
        self._space = space
        self._lines = Seldom()

    def largest(self, upstream: str) -> int:
        """The largest blob of the upstream that is kept, in bytes."""
        return self._space.largest(upstream)

    async def begin(self, size: int, upstream: str, what: str) -> Arrival | None:
        """Room for ``size`` bytes that come through ``upstream``; None where they cannot be kept: no room below
        max_size or min_free, or a store that fails. ``what`` names them in the log."""
        reservation: Reservation | None = None
        try:
            reservation = await self._space.reserve(size, upstream)
            if reservation is None:
                if self._lines.due("room", time.monotonic()):
                    log.warning("%s passes through, as others may: no room below max_size or min_free", what)
                return None
            ingest = await self._holdings.begin()
        except (NoSpace, StoreFailed) as cause:
            if self._lines.due(type(cause).__name__, time.monotonic()):
                log.error("%s passes through, as others may: %s", what, cause)
            if reservation is not None:
                reservation.release()
            return None
        except BaseException:
            if reservation is not None:
                reservation.release()
            raise
        return Arrival(ingest, reservation, self._space, self._holdings)
