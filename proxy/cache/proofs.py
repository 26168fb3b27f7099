"""Content that was last proven too long ago is proven again, behind the answer that met it and at a bounded rate. What
is wrong goes into quarantine, and the next pull fetches it anew.
"""

import asyncio
import logging
from dataclasses import dataclass

from proxy.cache.holdings import Holdings
from proxy.cache.rereading import ReadCount
from proxy.core.errors import NoSpace, StoreFailed
from proxy.storage.contract import Content
from proxy.tasks.shared_pace import SharedPace

log = logging.getLogger("entrepot.proofs")

_REST = 5.0  # seconds after a storage that failed


@dataclass(slots=True)
class ProofStats:
    contents: int = 0
    bad: int = 0


class Proofs:
    """Works off what ``Holdings.doubted`` gathers."""

    def __init__(self, holdings: Holdings, pace: SharedPace) -> None:
        self.stats = ProofStats()
        self._holdings = holdings
        self._pace = pace

    async def run(self) -> None:
        """One after another. Runs until cancelled."""
        while True:
            content = await self._holdings.doubted.next()
            try:
                await self.prove(content)
            except (NoSpace, StoreFailed) as cause:
                log.warning("%s is not proven again for now: %s", content.digest, cause)
                await asyncio.sleep(_REST)

    async def prove(self, content: Content) -> None:
        """Raises NoSpace or StoreFailed."""
        good = await self._holdings.prove_again(content, self._pace, ReadCount())
        if good is None:
            return
        self.stats.contents += 1
        self.stats.bad += not good
