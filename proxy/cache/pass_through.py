"""Passing through: a blob that cannot be kept, from one transfer to all who ask for it at the same time.

Its bytes stand in a bounded window of memory while its readers take them. The transfer goes at the pace of the slowest
reader, but waits for nobody long: one that falls behind the window begins a transfer of its own. The same promise as
for what is kept: the tail is held back until the digest agrees.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from typing import NamedTuple
from weakref import WeakValueDictionary

from proxy.cache.sources import Sources
from proxy.core.errors import WrongBytes
from proxy.core.names import Digest, Hasher, Repository
from proxy.core.transfer import Transfer
from proxy.tasks.flights import Flights
from proxy.tasks.hops import SCOPE
from proxy.tasks.off_loop import off_loop
from proxy.tasks.places import Places

HELD_BACK = 64 << 10
"""Bytes at the end of an unproven blob that no client is sent: nobody completes a response that may be wrong."""
_CHUNK = 1 << 20  # bytes read at a time
_WINDOW = 8 << 20  # bytes of one blob in memory, at most
_PATIENCE = 2.0  # seconds that a full window waits for its slowest reader


class Chunks(NamedTuple):
    """What it takes to read one: a thread, and the right to it."""

    threads: Executor
    places: Places


class PassThroughs:
    """``under_way`` has the latest of each blob; what was read of it may be gone from its window."""

    def __init__(self, sources: Sources, pool: Executor, most: int, group: asyncio.TaskGroup) -> None:
        self._sources = sources
        self._chunks = Chunks(pool, Places(most))
        self._group = group
        self.under_way: WeakValueDictionary[tuple[Repository, Digest], PassThrough] = WeakValueDictionary()
        self._openings: Flights[tuple[Repository, Digest, bytes], PassThrough] = Flights(group)

    def begin(self, repository: Repository, hasher: Hasher, transfer: Transfer) -> "PassThrough":
        """``hasher`` has seen every byte before the transfer's first one that is new to it."""
        key = (repository, hasher.digest)
        self.under_way[key] = begun = PassThrough(
            repository, transfer, hasher, self._sources, self._chunks, self._group
        )
        return begun

    async def join(self, repository: Repository, hasher: Hasher, position: int) -> "PassThroughBody":
        """A reader from ``position`` on, behind a transfer that is under way where one can still be joined, otherwise
        behind one that begins where ``hasher`` ends. Raises what opening it raises."""
        key = (repository, hasher.digest)
        while True:
            found = self.under_way.get(key)
            if found is not None and (body := self.follow(found, position)) is not None:
                return body
            await self._openings.join((*key, SCOPE.get()), lambda: self._reopen(repository, hasher.copy()))

    def follow(self, found: "PassThrough", position: int) -> "PassThroughBody | None":
        """None where what stands at ``position`` is gone from the window."""
        if not found.admits(position):
            return None

        async def again(position: int) -> PassThroughBody:
            return await self.join(found.repository, Hasher(found.digest), position)

        return PassThroughBody(found, position, again)

    async def _reopen(self, repository: Repository, hasher: Hasher) -> "PassThrough":
        transfer = await self._sources.open(repository, hasher.digest, hasher.count)
        return self.begin(repository, hasher, transfer)


class PassThrough:
    """One transfer, its window, and where its readers are."""

    def __init__(
        self,
        repository: Repository,
        transfer: Transfer,
        hasher: Hasher,
        sources: Sources,
        chunks: Chunks,
        group: asyncio.TaskGroup,
    ) -> None:
        self.repository = repository
        self.digest = hasher.digest
        self.size = transfer.size
        self.positions: dict[PassThroughBody, int] = {}
        self._transfer = transfer
        self._hasher = hasher
        self._sources = sources
        self._chunks = chunks
        self._position = transfer.offset  # of the transfer's next byte
        self._base = hasher.count  # of the first byte of the window
        self._window = bytearray()
        self._marks: dict[int, bytes] = {}  # the hash of all bytes before each multiple of ``_CHUNK``
        self.proven = False
        self._over = False
        self._reading = False
        self._moved = asyncio.Event()
        self._reads: Flights[None, None] = Flights(group)

    def admits(self, position: int) -> bool:
        """Can it be read from ``position`` on?"""
        return position >= self._base and not self._over

    @property
    def releasable(self) -> int:
        """The end of what may be sent."""
        received = self._base + len(self._window)
        return received if self.proven else received - HELD_BACK

    async def read(self, reader: "PassThroughBody", position: int, end: int | None) -> bytes | None:
        """What may be sent from ``position``; none of it at the end. None where it is gone from the window. Raises
        WrongBytes, and what the transfer raises."""
        self.positions[reader] = position
        self._moved.set()
        while position >= self._base:
            if position < self.releasable:
                stop = self.releasable if end is None else min(self.releasable, end)
                return bytes(memoryview(self._window)[position - self._base : stop - self._base])
            if self.proven:
                return b""
            await self._reads.join(None, self._read)
        return None

    def mark_behind(self, position: int) -> tuple[int, bytes]:
        """Of all bytes before one place at or behind a position that is gone from the window, the hash."""
        place = -(-position // _CHUNK) * _CHUNK
        return place, self._marks[place]

    def began_as(self, marks: Mapping[int, bytes]) -> bool:
        """Whether these are hashes of its own bytes."""
        return marks.items() <= self._marks.items()

    async def released(self, position: int) -> int:
        """The end of what may be sent from ``position``, which lies before the window: waits until there is some."""
        while self.releasable <= position:
            await self._reads.join(None, self._read)
        return self.releasable

    def leave(self, reader: "PassThroughBody") -> None:
        self.positions.pop(reader, None)
        self._moved.set()
        if not self.positions:
            self._over = True
            if self._reading:
                self._transfer.interrupt()
            else:
                self._transfer.close()

    async def _read(self) -> None:
        """The next bytes, into the window."""
        self._reading = True
        try:
            await self._make_room()
            async with self._chunks.places.place(self.repository.upstream):
                chunk = await off_loop(self._chunks.threads, self._next, self._transfer.interrupt)
        except BaseException:
            self._over = True  # who comes now asks anew
            raise
        finally:
            self._reading = False
            if self._over:  # or the last reader left meanwhile
                self._transfer.close()
        self._window += chunk
        if not chunk:
            if not self._hasher.agrees():
                self._over = True
                self._sources.blame([self._transfer.origin], self.digest)
                raise WrongBytes(self._transfer.origin, f"it sent wrong bytes for {self.digest}")
            self.proven = True

    async def _make_room(self) -> None:
        if len(self._window) < _WINDOW:
            return  # what is there stays for those who come late
        self._forget(self._slowest())
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        while len(self._window) >= _WINDOW and not self._over:
            self._moved.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._moved.wait()
            except TimeoutError:
                self._forget(self._base + _WINDOW // 2)
            self._forget(self._slowest())

    def _slowest(self) -> int:
        """Where the last of those is that have not fallen behind the window."""
        return min((at for at in self.positions.values() if at >= self._base), default=self._base)

    def _forget(self, position: int) -> None:
        """Nobody gets what is before it any more."""
        passed = max(0, min(position - self._base, len(self._window)))
        del self._window[:passed]
        self._base += passed

    def _next(self) -> bytes:
        """In a thread: the next bytes that the hasher has not seen; none at the end."""
        buffer = memoryview(bytearray(_CHUNK))
        while count := self._transfer.readinto(buffer):
            self._position += count
            fresh = min(count, self._position - self._hasher.count)
            if fresh > 0:
                self._hash(buffer[count - fresh : count])
                return bytes(buffer[count - fresh : count])
        return b""

    def _hash(self, fresh: memoryview) -> None:
        while fresh:
            part = fresh[: _CHUNK - self._hasher.count % _CHUNK]
            self._hasher.update(part)
            fresh = fresh[len(part) :]
            if self._hasher.count % _CHUNK == 0:
                self._marks[self._hasher.count] = self._hasher.so_far()


class PassThroughBody:
    """One client's view of it. ``again`` brings the rest where this client was too slow for the others."""

    def __init__(self, found: PassThrough, position: int, again: Callable[[int], "Awaitable[PassThroughBody]"]) -> None:
        self.size = found.size
        self._found = found
        self._again = again
        self._owed: dict[int, bytes] = {}  # marks of other transfers, from which this client has its first bytes
        found.positions[self] = position

    def ready(self, position: int) -> bool:
        return self._found.releasable > position

    async def piece(self, position: int, end: int | None) -> bytes:
        while (content := await self._found.read(self, position, end)) is None:
            place, mark = self._found.mark_behind(position)
            self._owed[place] = mark
            successor = await self._again(position)
            self._found.leave(self)
            self._found = successor.hand_over(self, position)
        found = self._found
        if found.proven and not found.began_as(self._owed):  # a good end makes no good blob of what began wrong
            raise WrongBytes(found.repository.upstream, f"it sent wrong bytes for {found.digest}")
        return content

    async def released(self, position: int) -> int:
        """As ``PassThrough.released``."""
        return await self._found.released(position)

    def hand_over(self, reader: "PassThroughBody", position: int) -> PassThrough:
        """What this one reads is read by ``reader`` from now on."""
        self._found.positions[reader] = position
        self._found.positions.pop(self)
        return self._found

    async def discard(self) -> None:
        """Nothing of it is held."""

    def close(self) -> None:
        self._found.leave(self)
