"""One client connection, from its first byte to its last: one protocol for all requests.

A header block that has come whole is understood, and answered at once where its reply is in memory; any other by the
full path, in a task. Requests are answered in their order: while a reply is under way nothing further is read, and when
it is out the next one may be answered from memory again.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Protocol, cast

from proxy.core.access import ANONYMOUS, Caller
from proxy.core.doors import network_of
from proxy.core.errors import Overloaded, RequestMalformed
from proxy.front import replies
from proxy.front.access_log import new_request_id
from proxy.front.connections import ConnectionRules, Malformed
from proxy.front.date import DateHeader
from proxy.front.handler import Handler
from proxy.front.requests import HeadParser, Requests, Understood

log = logging.getLogger("entrepot.front")

_END = b"\r\n\r\n"
_SWEEP_EVERY = 1.0  # seconds
_LINGER = 1.0  # seconds that a client may still send after its last reply, so that no reset takes that from it


FastReply = Callable[[Understood, bytes, str, float], bytes | None]


class Front:
    """What the listener's connections share; ``protocol`` makes them. ``fast_reply`` is the fast path's; where it has
    none, ``handler`` answers in a task of ``tasks``."""

    def __init__(
        self,
        rules: ConnectionRules,
        requests: Requests,
        fast_reply: FastReply,
        handler: Handler,
        tasks: asyncio.TaskGroup,
        date: DateHeader,
        now: Callable[[], float],
    ) -> None:
        self.rules = rules
        self.requests = requests
        self.fast_reply = fast_reply
        self.handler = handler
        self.tasks = tasks
        self.date = date
        self.now = now
        self.connections: set[Occupant] = set()
        self._by_network: Counter[str] = Counter()
        self.refused = 0  # connections, since the start
        self.malformed = Malformed()
        self.draining = False
        self.protocol = partial(Connection, self)

    def enter(self, occupant: "Occupant", address: str) -> bool:
        """False where there are too many, in all or from this address and its like."""
        network = network_of(address)
        if self._by_network[network] >= self.rules.places.share(len(self.connections)):
            self.refused += 1
            return False
        self.connections.add(occupant)
        self._by_network[network] += 1
        return True

    def leave(self, occupant: "Occupant", address: str) -> None:
        """It is over; nothing happens to one that did not enter."""
        if occupant not in self.connections:
            return
        self.connections.remove(occupant)
        network = network_of(address)
        self._by_network[network] -= 1
        if self._by_network[network] <= 0:
            del self._by_network[network]

    def sweep(self, now: float) -> None:
        """Closes who said nothing, or took nothing, for too long."""
        for connection in list(self.connections):
            connection.look(now)

    def close_idle(self) -> None:
        """No further requests: idle connections end now, busy ones behind their reply."""
        self.draining = True
        for connection in list(self.connections):
            connection.rest()

    def abort(self) -> None:
        """Every connection ends now, whatever is under way."""
        for connection in list(self.connections):
            connection.abort()

    async def keep(self) -> None:
        """What must be done each second, until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_EVERY)
            self.date.refresh()
            self.sweep(self.now())


class Occupant(Protocol):
    """A connection that has its place, whatever it is at."""

    def look(self, now: float) -> None: ...
    def rest(self) -> None: ...
    def abort(self) -> None: ...


class Connection(asyncio.Protocol):
    __slots__ = (
        "_address",
        "_begun",
        "_busy",
        "_caller",
        "_clogged",
        "_front",
        "_idle",
        "_known",
        "_last",
        "_leaving",
        "_looked",
        "_parser",
        "_received",
        "_requests",
        "_retired",
        "_served",
        "_since",
        "_task",
        "_transport",
    )

    _transport: asyncio.Transport

    def __init__(
        self, front: Front, address: str = "", caller: Caller = ANONYMOUS, requests: Requests | None = None
    ) -> None:
        """``address`` is the client's, where another stands between it and us; ``caller`` is who it is by its
        certificate; ``requests`` are the listener's, where it has its own."""
        self._front = front
        self._requests = requests or front.requests
        self._known = self._requests.known
        self._caller = caller
        self._last = b""  # the block before, if it was not known as it was
        self._address = address
        self._received = b""  # of requests that are not answered yet
        self._looked = 0  # bytes of it that hold no end of a block
        self._parser: HeadParser | None = None  # has seen what is there of a block
        self._begun: float | None = None  # when the block began of which only a part has come
        self._since = 0.0  # when the last reply went out
        self._served = False
        self._idle = False  # nothing of the following, and nothing received
        self._busy = False  # the full path is answering
        self._task: asyncio.Task[None] | None = None  # in which it does
        self._clogged = False  # the client does not take its replies
        self._retired = False  # the reply under way is the last
        self._leaving = False  # the last reply is out

    # ------------------------------------------------------------ called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)  # uvloop's is one by what it does
        front, peer = self._front, transport.get_extra_info("peername")
        if not self._address:
            self._address = peer[0] if isinstance(peer, tuple) else ""
        if not front.handler.fits(transport):
            log.error("a connection is refused: it is encrypted, and nothing here writes to such a one")
            self._leaving = True
            transport.abort()
            return
        if not front.enter(self, self._address):
            # 503 and not 429, which containerd would retry on us instead of going to its next host.
            self._leaving = True
            transport.write(replies.last_word(Overloaded("too many connections"), front.date.line))
            transport.close()
            return
        self._since = front.now()
        self._idle = True

    def data_received(self, data: bytes) -> None:
        if self._idle:
            understood = self._known(data)
            if understood is None:
                requests = self._requests
                understood = requests.recall(data)
                if understood is not None and data == self._last:
                    requests.keep(data, understood)
                self._last = data
            if understood is not None:
                self._answer(understood, data)
                return
        if not self._leaving:
            self._received += data
            self._advance()

    def pause_writing(self) -> None:
        self._clogged, self._idle = True, False

    def resume_writing(self) -> None:
        self._clogged = False
        self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leaving, self._idle, self._received = True, False, b""
        if self._busy and self._task is not None:
            self._task.cancel()  # whatever it waits for: nobody takes the reply
        self._front.leave(self, self._address)

    # ------------------------------------------------------------ answering

    def _advance(self) -> None:
        """Answers what has come whole, until an answer takes time."""
        taken = 0
        while taken < len(self._received) and not (self._busy or self._clogged or self._leaving):
            try:
                while self._begun is None and self._received.startswith(b"\r\n", taken):
                    taken += 2  # RFC 9112 2.2
                end = self._received.find(_END, taken + self._looked) + len(_END)
                if end < len(_END):
                    self._look_at_part(taken)
                    break
                block = self._received[taken:end]
                understood = self._requests.read(block, self._parser)
            except RequestMalformed as fault:
                self._refuse(fault)
                return
            taken, self._looked, self._begun, self._parser = end, 0, None, None
            self._answer(understood, block)
        self._received = self._received[taken:]
        waiting, transport = self._busy or self._clogged, self._transport
        self._idle = not (self._received or waiting or self._leaving)
        if waiting and self._received and transport.is_reading():
            transport.pause_reading()
        elif not waiting and not transport.is_reading() and not transport.is_closing():
            transport.resume_reading()

    def _look_at_part(self, start: int) -> None:
        """A block of which only a part has come. Raises RequestMalformed as soon as that can be no beginning of one."""
        part = self._received[start:]
        if not part:
            return
        if self._begun is None:
            self._begun = self._front.now()
            self._parser = HeadParser(self._requests.limits)
        assert self._parser is not None
        self._looked = max(0, len(part) - len(_END) + 1)
        self._parser.feed(part)

    def _answer(self, understood: Understood, block: bytes) -> None:
        front = self._front
        now = front.now()
        if self._caller is not ANONYMOUS and understood.caller is ANONYMOUS:
            understood = understood._replace(caller=self._caller)
        reply = front.fast_reply(understood, block, self._address, now)
        if reply is not None:
            self._transport.write(reply)
            self._since, self._served = now, True
        else:
            self._busy, self._idle = True, False
            # Perhaps by the task of the request before it, of which nothing is inherited.
            self._task = front.tasks.create_task(self._respond(understood, block), context=Context())

    async def _respond(self, understood: Understood, block: bytes) -> None:
        front = self._front
        try:
            stays = await front.handler(self._transport, self._address, understood, block)
        except BaseException:
            self._busy = False
            self._transport.abort()
            raise
        self._busy, self._since, self._served = False, front.now(), True
        if self._transport.is_closing():
            return
        if stays and not front.draining and not self._retired:
            self._advance()
        else:
            self._leave()

    # ------------------------------------------------------------ ending

    def _refuse(self, fault: RequestMalformed) -> None:
        """What is no request gets OCI JSON and the end of the connection; nothing of it is repeated."""
        request = new_request_id()
        self._front.malformed.came(self._address, request, self._front.now())
        self._transport.write(replies.last_word(fault, self._front.date.line, request))
        self._leave()

    def _leave(self) -> None:
        """Ends the connection behind its last reply. A socket closed with something unread in it would be reset, and
        the reply with it: so what still comes is read and thrown away for a while."""
        self._leaving, self._idle, self._received, self._since = True, False, b"", self._front.now()
        transport = self._transport
        if not transport.can_write_eof():
            transport.close()
            return
        transport.write_eof()
        if not transport.is_reading():
            transport.resume_reading()

    def look(self, now: float) -> None:
        """Ends it where its time is up."""
        rules = self._front.rules
        if self._busy:
            return
        patience = rules.idle_timeout if self._served else rules.header_timeout
        if self._leaving:
            patience = rules.idle_timeout if self._clogged else _LINGER
        over = self._since + patience < now
        if self._begun is not None:
            over = over or self._begun + rules.header_timeout < now
        if over and (self._clogged or self._transport.is_closing()):
            self._transport.abort()
        elif over:
            self._transport.close()

    def rest(self) -> None:
        """Ends it unless a reply is under way."""
        if not self._busy:
            self._transport.close()

    def retire(self) -> None:
        """Ends it behind the reply under way."""
        self._retired = True
        self.rest()

    def abort(self) -> None:
        """Ends it as it is."""
        self._transport.abort()
