"""Bytes that were let go and are still in the store: being removed, or kept by a disk that fails.

They count as committed until they are gone, and nothing new is committed under their digest while they are removed.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager

from proxy.core.errors import StoreFailed
from proxy.core.graph import Node
from proxy.core.names import Digest
from proxy.storage.contract import BlobStore, Catalog

log = logging.getLogger("entrepot.removals")

_PAGE = 1000


class Tombstones:
    """``gone`` hears of what no longer counts. What an earlier process let go is removed too, but was never counted."""

    def __init__(self, store: BlobStore, catalog: Catalog, threads: Executor, gone: Callable[[Node], None]) -> None:
        self._store = store
        self._catalog = catalog
        self._threads = threads
        self._gone = gone
        self._under_way: dict[Digest, asyncio.Event] = {}
        self._counted: dict[Digest, Node] = {}

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._under_way or digest in self._counted

    async def passed(self, digest: Digest) -> None:
        """Waits until it is not being removed."""
        while (removal := self._under_way.get(digest)) is not None:
            await removal.wait()

    @contextmanager
    def under_way(self, digests: Collection[Digest]) -> Iterator[None]:
        """Their bytes may vanish at any moment."""
        removal = asyncio.Event()
        self._under_way.update(dict.fromkeys(digests, removal))
        try:
            yield
        finally:
            for digest in digests:
                del self._under_way[digest]
            removal.set()

    def let_go(self, nodes: Iterable[Node]) -> None:
        """No longer held, as the catalog knows."""
        self._counted.update((node.digest, node) for node in nodes)

    def uncount(self, digest: Digest) -> None:
        """Its bytes are gone, or replaced by new ones. Nothing happens to what was not let go."""
        node = self._counted.pop(digest, None)
        if node is not None:
            self._gone(node)

    async def left_over(self, busy: Collection[Digest]) -> list[Digest]:
        """Some of what a crash or a failing disk left behind; nothing that is ``busy`` or being removed."""
        found = await self._catalog.tombstones(_PAGE)
        return [digest for digest in found if digest not in self._under_way and digest not in busy]

    async def remove(self, digests: Sequence[Digest]) -> None:
        """Only while they are ``under_way``. What the disk does not let go of stays for the next ``left_over``."""
        removed = await asyncio.get_running_loop().run_in_executor(self._threads, _remove, self._store, digests)
        for digest in removed:
            self.uncount(digest)
        await self._catalog.left(removed)


def _remove(store: BlobStore, digests: Sequence[Digest]) -> list[Digest]:
    removed = []
    for digest in digests:
        try:
            store.remove(digest)
            os.sched_yield()  # the event loop may wait for this core, and nothing here is in a hurry
        except StoreFailed as cause:
            log.error("%s is let go and its bytes stay for now: %s", digest, cause)
        else:
            removed.append(digest)
    return removed
