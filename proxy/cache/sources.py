"""Where a blob may be had: other homes of bytes first, the registry itself last.

A home that does not have it or does not answer costs one question; what the last one says is the answer. What a home
sent wrong is blamed on that home and on no other: another home of bytes is passed over, and the registry is asked once
more at once, over a new connection, since what stands between may have done it; then after pauses that grow.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from proxy.core.backoff import Backoff
from proxy.core.errors import Fault, WrongBytes
from proxy.core.names import Digest, Repository
from proxy.core.tables import BoundedTable, Tables, of_upstream
from proxy.core.transfer import Transfer

log = logging.getLogger("entrepot.sources")

_REMEMBERED = 4 << 20  # bytes
_AGAIN = Backoff(first=1.0, longest=300.0)
_FORGOTTEN = 600.0  # seconds after the last wrong bytes


class _Blame(NamedTuple):
    times: int
    until: float  # when it may be asked again


class Source(Protocol):
    """A home of bytes."""

    name: str
    """Its transfers' ``origin``."""

    async def blob(self, name: str, digest: Digest, offset: int = 0, end: int | None = None) -> Transfer:
        """The blob of a repository from ``offset`` on, up to ``end`` where that is given. Raises BlobUnknown,
        NameUnknown, and faults of this home."""

    def reconnect(self) -> None:
        """What is asked from now on goes over new connections."""


def no_homes(_: str) -> Sequence[Source]:
    """Of an upstream whose bytes are nowhere else."""
    return ()


class Sources:
    """``homes(upstream)`` are asked in their order, and behind them ``registry(upstream)`` itself."""

    def __init__(
        self,
        homes: Callable[[str], Sequence[Source]],
        registry: Callable[[str], Source],
        tables: Tables,
        now: Callable[[], float],
    ) -> None:
        self._homes = homes
        self._registry = registry
        self._now = now
        self._blamed: BoundedTable[tuple[str, Digest], _Blame] = tables.table(
            "wrong bytes", _REMEMBERED, _FORGOTTEN, of_upstream
        )

    def only_upstream(self, upstream: str) -> bool:
        """Whether what comes can only be the registry's own."""
        return not self._homes(upstream)

    async def open(self, repository: Repository, digest: Digest, offset: int = 0, end: int | None = None) -> Transfer:
        """Raises BlobUnknown, NameUnknown, and upstream's faults; WrongBytes where upstream itself has sent them too
        often to be asked now, and only then."""
        upstream = self._registry(repository.upstream)
        for source in self._homes(repository.upstream):
            if (source.name, digest) not in self._blamed:
                try:
                    return await source.blob(repository.name, digest, offset, end)
                except Fault as fault:
                    log.info("%s of %s is not to be had from %s: %s", digest, repository, source.name, fault)
        blame = self._blamed.get((upstream.name, digest))
        if blame is not None:
            if (left := blame.until - self._now()) > 0:
                times = f"{blame.times} times in a row"
                raise WrongBytes(
                    upstream.name, f"it sent wrong bytes for {digest} {times}: asked again in {left:.0f} s"
                )
            upstream.reconnect()
        return await upstream.blob(repository.name, digest, offset, end)

    def blame(self, origins: Iterable[str], digest: Digest) -> None:
        """Some of the bytes that came from these were wrong."""
        for origin in origins:
            before = self._blamed.get((origin, digest))
            times = before.times + 1 if before is not None else 1
            pause = _AGAIN.pause(times - 2) if times > 1 else 0.0
            self._blamed.put((origin, digest), _Blame(times, self._now() + pause))
