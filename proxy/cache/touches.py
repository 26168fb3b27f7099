"""Upstream's record of pulls: a cache hides them from it, and its rules may then let go what is in use here.

ECR keeps a last pull time per image and may archive or expire by it (Amazon ECR user guide, "Lifecycle policy
properties"). One manifest GET per served digest and period keeps that time honest, in the background and paced.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from proxy.core.errors import Fault
from proxy.core.names import Digest, Repository
from proxy.core.tables import BoundedTable, Tables, of_repository
from proxy.upstream.contract import Registry

log = logging.getLogger("entrepot.touch")

_PENDING = 10_000
_TOUCHED = 32 << 20  # bytes
_PAUSE = 0.5  # seconds between two touches


class Touches:
    """``period(upstream)`` in seconds, None where upstream is not to be touched."""

    def __init__(
        self,
        registry: Callable[[str], Registry],
        period: Callable[[str], float | None],
        tables: Tables,
        now: Callable[[], float],
    ) -> None:
        self.done = 0
        self._registry = registry
        self._period = period
        self._now = now
        self._touched: BoundedTable[tuple[Repository, Digest], float] = tables.table(
            "touched", _TOUCHED, None, of_repository
        )
        self._pending: deque[tuple[Repository, Digest]] = deque()
        self._ready = asyncio.Event()

    def served(self, repository: Repository, digest: Digest) -> None:
        """Costs a look-up; the touch itself happens behind, or not at all when too many wait."""
        period = self._period(repository.upstream)
        if period is None or len(self._pending) >= _PENDING:
            return
        key = (repository, digest)
        now = self._now()
        if now - self._touched.get(key, -period) >= period:
            self._touched.put(key, now)
            self._pending.append(key)
            self._ready.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            while not self._pending:
                self._ready.clear()
                await self._ready.wait()
            repository, digest = self._pending.popleft()
            try:
                await self._registry(repository.upstream).manifest(repository.name, digest)
                self.done += 1
            except Fault as cause:
                log.info("%s@%s was not touched upstream: %s", repository, digest, cause)
            await asyncio.sleep(_PAUSE)
