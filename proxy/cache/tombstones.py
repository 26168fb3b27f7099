"""Bytes in the store that no entry of the catalog stands for: being committed, being removed, or left behind.

What was let go counts as committed until it is gone, and nothing new is committed under its digest while it is removed.
"""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from proxy.cache.threads import StoreThreads
from proxy.core.budget import Budget
from proxy.core.errors import StoreFailed
from proxy.core.graph import Node
from proxy.core.names import Digest
from proxy.storage.contract import BlobStore, CatalogContents, Content
from proxy.tasks.off_loop import off_loop

log = logging.getLogger("entrepot.removals")

_PAGE = 1000
_LOADED = 100_000


class Tombstones:
    def __init__(self, store: BlobStore, contents: CatalogContents, threads: StoreThreads, budget: Budget) -> None:
        self._store = store
        self._contents = contents
        self._threads = threads
        self._budget = budget
        self._removing: dict[Digest, asyncio.Event] = {}
        self._committing: Counter[Digest] = Counter()
        self._counted: dict[Digest, Node] = {}

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._removing or digest in self._counted

    async def load(self) -> None:
        """What an earlier process let go counts too, until it is removed. Raises StoreFailed."""
        for digest, size, upstream in await self._contents.tombstones(_LOADED):
            self._counted[digest] = Node(digest, size, False, upstream)
            self._budget.adopt(size, upstream)

    def has_some(self) -> bool:
        return bool(self._counted)

    def is_committing(self, digest: Digest) -> bool:
        """Are its bytes about to be there?"""
        return digest in self._committing

    def counted(self) -> Mapping[str, int]:
        """Bytes that count as committed and are known to no catalog, by upstream."""
        sizes: Counter[str] = Counter()
        for node in self._counted.values():
            sizes[node.upstream] += node.size
        return sizes

    @asynccontextmanager
    async def committing(self, digest: Digest) -> AsyncIterator[None]:
        """Its bytes come in. Waits until it is not being removed."""
        while (removal := self._removing.get(digest)) is not None:
            await removal.wait()
        self._committing[digest] += 1
        try:
            yield
        finally:
            self._committing[digest] -= 1
            if not self._committing[digest]:
                del self._committing[digest]

    @contextmanager
    def removing(self, digests: Collection[Digest]) -> Iterator[None]:
        """Their bytes may vanish at any moment."""
        removal = asyncio.Event()
        self._removing.update(dict.fromkeys(digests, removal))
        try:
            yield
        finally:
            for digest in digests:
                del self._removing[digest]
            removal.set()

    def let_go(self, nodes: Iterable[Node]) -> None:
        """No longer held, as the catalog knows; already counted."""
        self._counted.update((node.digest, node) for node in nodes)

    def strand(self, content: Content) -> None:
        """Its bytes are in the store, and the catalog could not be told: they count from now on, until they are
        removed or committed again."""
        self.uncount(content.digest)
        self._budget.adopt(content.size, content.upstream)
        self._counted[content.digest] = Node(content.digest, content.size, False, content.upstream)

    def uncount(self, digest: Digest) -> None:
        """Its bytes are gone, or replaced by new ones. Nothing happens to what was not let go."""
        node = self._counted.pop(digest, None)
        if node is not None:
            self._budget.forget(node.size, node.upstream)

    async def left_over(self) -> list[Digest]:
        """Some of what a crash, a failing disk or a failing catalog left behind; nothing that is being committed or
        removed. What the catalog knows after all is no longer counted here: count again. Raises StoreFailed."""
        noted = await self._contents.tombstones(_PAGE)
        found = dict.fromkeys([*(each.digest for each in noted), *self._counted])
        for digest in [digest for digest in found if digest in self._counted]:
            if await self._contents.get(digest) is not None:  # known after all
                del found[digest], self._counted[digest]
        return [digest for digest in found if digest not in self._removing and digest not in self._committing]

    async def remove(self, digests: Sequence[Digest]) -> None:
        """Only while they are ``removing``. What the disk does not let go of stays for the next ``left_over``."""
        removed = await off_loop(self._threads.removing, partial(_remove, self._store, digests))
        for digest in removed:
            self.uncount(digest)
        await self._contents.clear_tombstones(removed)


def _remove(store: BlobStore, digests: Sequence[Digest]) -> list[Digest]:
    removed, kept = [], dict[Digest, StoreFailed]()
    for digest in digests:
        try:
            store.remove(digest)
            os.sched_yield()  # the event loop may wait for this core, and nothing here is in a hurry
        except StoreFailed as fault:
            kept[digest] = fault
        else:
            removed.append(digest)
    if kept:
        log.error(
            "%d contents are let go and their bytes stay for now, as of %s: %s", len(kept), *next(iter(kept.items()))
        )
    return removed
