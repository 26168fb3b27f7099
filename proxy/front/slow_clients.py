"""Slow readers: one thread with its own epoll serves all of them, so that a thousand cost the event loop nothing.

A reader is handed over when its socket is full, and comes back when the socket has all, when it has become fast, or
when it failed.
"""

import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from proxy.core.errors import StoreFailed
from proxy.front.sender import ClientGone
from proxy.front.streams import Feed, Pace, hang_up
from proxy.tasks.off_loop import landing

_BEAT = 1.0  # seconds between two looks at who takes too little
_EVENTS = 256


@dataclass(frozen=True, slots=True)
class SlowClientRules:
    """How turns go among them."""

    share: int = 1 << 20  # bytes that one reader gets at its turn: the others wait meanwhile
    fast: int = 4 << 20  # bytes taken without a pause, after which a reader is no longer slow


@dataclass(slots=True, eq=False)
class _Reader:
    sock: int
    feed: Feed
    pace: Pace
    looked: float  # when its pace was last judged
    out: "Future[None]" = field(default_factory=Future)
    streak: int = 0  # bytes since the socket was last full

    def look(self, now: float) -> None:
        """Raises ClientGone for one that is slower than the rules allow."""
        self.pace.waited(now - self.looked)
        self.looked = now


class SlowClients:
    """A reader's socket, feed and pace are the thread's until its future is done."""

    def __init__(self, rules: SlowClientRules) -> None:
        self._rules = rules
        self._epoll = select.epoll()
        self._closing = os.eventfd(0, os.EFD_NONBLOCK)
        self._epoll.register(self._closing, select.EPOLLIN)
        self._readers: dict[int, _Reader] = {}  # each key is written by the loop, and taken away by the thread
        self._judged = 0.0

    def __len__(self) -> int:
        return len(self._readers)

    async def send(self, sock: socket.socket, feed: Feed, pace: Pace) -> None:
        """Until nothing is left, or the reader has become fast. Raises ClientGone, StoreFailed."""
        reader = _Reader(sock.fileno(), feed, pace, time.monotonic())
        reader.out.set_running_or_notify_cancel()
        self._readers[reader.sock] = reader
        try:
            self._epoll.register(reader.sock, select.EPOLLOUT)
        except OSError:
            del self._readers[reader.sock]
            raise
        await landing(reader.out, partial(hang_up, sock))

    def run(self) -> None:
        """In the thread, until ``stop``."""
        while True:
            ready = self._epoll.poll(_BEAT, _EVENTS)
            now = time.monotonic()
            for descriptor, _ in ready:
                if descriptor == self._closing:
                    return
                self._serve(self._readers[descriptor], now)
            self._judge(now)

    def stop(self) -> None:
        os.eventfd_write(self._closing, 1)

    def close(self) -> None:
        """After the thread has ended."""
        self._epoll.close()
        os.close(self._closing)

    def _serve(self, reader: _Reader, now: float) -> None:
        feed = reader.feed
        try:
            count, full = feed.send(self._rules.share)
            reader.look(now)
        except (ClientGone, StoreFailed) as cause:
            self._finish(reader, cause)
            return
        if count:
            reader.pace.sent(count)
        reader.streak = 0 if full else reader.streak + count
        if not feed.left or reader.streak >= self._rules.fast:
            self._finish(reader, None)

    def _judge(self, now: float) -> None:
        if now < self._judged + _BEAT:
            return
        self._judged = now
        for reader in list(self._readers.values()):
            try:
                reader.look(now)
            except ClientGone as cause:
                self._finish(reader, cause)

    def _finish(self, reader: _Reader, cause: Exception | None) -> None:
        del self._readers[reader.sock]
        self._epoll.unregister(reader.sock)
        if cause is None:
            reader.out.set_result(None)
        else:
            reader.out.set_exception(cause)


@contextmanager
def slow_clients(rules: SlowClientRules = SlowClientRules()) -> Iterator[SlowClients]:
    """Whoever still reads when this ends waits in vain: it ends after all connections."""
    readers = SlowClients(rules)
    thread = threading.Thread(target=readers.run, name="slow-readers")
    thread.start()
    try:
        yield readers
    finally:
        readers.stop()
        thread.join()
        readers.close()
