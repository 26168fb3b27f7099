"""Where a blob may be had: other homes of bytes first, the registry itself last.

A home that does not have it or does not answer costs one question; what the last one says is the answer. What a home
sent wrong is blamed on that home and on no other.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from cachetools import TTLCache

from proxy.core.errors import Fault, WrongBytes
from proxy.core.names import Digest, Repository
from proxy.core.transfer import Transfer

log = logging.getLogger("entrepot.sources")

_REMEMBERED = 10_000


class Source(Protocol):
    """A home of bytes."""

    name: str
    """Its transfers' ``origin``."""

    async def blob(self, name: str, digest: Digest, offset: int = 0, end: int | None = None) -> Transfer:
        """The blob of a repository from ``offset`` on, up to ``end`` where that is given. Raises BlobUnknown,
        NameUnknown, and faults of this home."""


def no_homes(_: str) -> Sequence[Source]:
    """Of an upstream whose bytes are nowhere else."""
    return ()


class Sources:
    """``homes(upstream)`` are asked in their order, and behind them ``registry(upstream)`` itself. An origin that sent
    wrong bytes for a digest is not asked for it for ``distrust`` seconds."""

    def __init__(
        self,
        homes: Callable[[str], Sequence[Source]],
        registry: Callable[[str], Source],
        distrust: float,
        now: Callable[[], float],
    ) -> None:
        self._homes = homes
        self._registry = registry
        self._distrusted: TTLCache[tuple[str, Digest], bool] = TTLCache(_REMEMBERED, distrust, timer=now)

    def only_upstream(self, upstream: str) -> bool:
        """Whether what comes can only be the registry's own."""
        return not self._homes(upstream)

    async def open(self, repository: Repository, digest: Digest, offset: int = 0, end: int | None = None) -> Transfer:
        """Raises BlobUnknown, NameUnknown, and upstream's faults; WrongBytes where upstream itself is distrusted."""
        upstream = self._registry(repository.upstream)
        for source in self._homes(repository.upstream):
            if (source.name, digest) not in self._distrusted:
                try:
                    return await source.blob(repository.name, digest, offset, end)
                except Fault as fault:
                    log.info("%s of %s is not to be had from %s: %s", digest, repository, source.name, fault)
        if (upstream.name, digest) in self._distrusted:
            raise WrongBytes(upstream.name, f"it sent wrong bytes for {digest} a moment ago")
        return await upstream.blob(repository.name, digest, offset, end)

    def blame(self, origins: Iterable[str], digest: Digest) -> None:
        """Some of the bytes that came from these were wrong."""
        for origin in origins:
            self._distrusted[origin, digest] = True
