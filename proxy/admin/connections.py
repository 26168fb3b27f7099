"""The places of the admin listener: few, of its own, and nobody keeps one by being silent.

The web server behind them waits for ever for a first request. So each connection is held by a protocol of ours, that
hands everything on and knows since when it waits.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

_SWEEP_EVERY = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class AdminConnectionRules:
    """Times are in seconds."""

    most: int = 64
    header_timeout: float = 15.0  # seconds until the first request must be there
    idle_timeout: float = 75.0  # between requests
    write_stall: float = 60.0  # without anything of an answer being taken


class AdminConnections:
    """``now`` is a clock that never goes back, in seconds."""

    def __init__(self, rules: AdminConnectionRules, now: Callable[[], float]) -> None:
        self.rules = rules
        self.now = now
        self._held: dict[asyncio.BaseTransport, AdminConnection] = {}

    def __len__(self) -> int:
        return len(self._held)

    def before(self, server: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """The factory of protocols that hand on to those of ``server``."""
        return lambda: AdminConnection(self, server())

    def enter(self, connection: "AdminConnection") -> bool:
        """Where all places are taken, who has been silent longest makes room; False where nobody is silent."""
        if len(self._held) >= self.rules.most:
            silent = [held for held in self._held.values() if not held.busy]
            if not silent:
                return False
            min(silent, key=lambda held: held.since).end()
        self._held[connection.transport] = connection
        return True

    def leave(self, connection: "AdminConnection") -> None:
        """Its place is free again. Idempotent."""
        self._held.pop(connection.transport, None)

    @contextmanager
    def busy(self, transport: asyncio.BaseTransport | None) -> Iterator[None]:
        """While a request of that connection is answered."""
        connection = self._held.get(transport) if transport is not None else None
        if connection is None:
            yield
            return
        connection.busy += 1
        try:
            yield
        finally:
            connection.busy -= 1
            connection.served, connection.since = True, self.now()

    def sweep(self) -> None:
        """Ends those whose time is up."""
        for connection in list(self._held.values()):
            connection.look()

    async def keep(self) -> None:
        """What must be done each second, until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_EVERY)
            self.sweep()


class AdminConnection(asyncio.Protocol):
    """One connection, in front of the server's own protocol."""

    transport: asyncio.Transport

    def __init__(self, house: AdminConnections, inner: asyncio.Protocol) -> None:
        self.busy = 0  # requests under way
        self.served = False
        self.since = 0.0  # when it began, or its last answer ended
        self._stalled: float | None = None  # since it takes nothing
        self._house = house
        self._inner = inner
        self._let_in = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let in, or ended at once."""
        self.transport = cast(asyncio.Transport, transport)
        self.since = self._house.now()
        self._let_in = self._house.enter(self)
        if self._let_in:
            self._inner.connection_made(transport)
        else:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._let_in:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._let_in else None

    def pause_writing(self) -> None:
        """The client takes nothing of its answer."""
        self._stalled = self._house.now()
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        self._stalled = None
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Its place is free again."""
        self._house.leave(self)
        if self._let_in:
            self._inner.connection_lost(exc)

    def look(self) -> None:
        """Ends it where its time is up."""
        rules, now = self._house.rules, self._house.now()
        if self._stalled is not None and self._stalled + rules.write_stall < now:
            self.end()
        patience = rules.idle_timeout if self.served else rules.header_timeout
        if not self.busy and self.since + patience < now:
            self.end()

    def end(self) -> None:
        """At once: nobody waits for anything of it."""
        self._house.leave(self)
        self.transport.abort()
