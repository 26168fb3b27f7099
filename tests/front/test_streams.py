"""How much of a body went out is known, whatever became of who took it."""

import asyncio
import math
import socket
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from proxy.cache.body import FilePiece
from proxy.front.plain_sender import PlainContent, PlainFile
from proxy.front.replies import Stream
from proxy.front.streams import Feed, Pace, SenderRules, Sent, Streams, Wire

CONTENT = bytes(range(256)) * 64
HEAD = b"head"


class OneFile:
    """A body that is a file."""

    def __init__(self, descriptor: int) -> None:
        self.size: int | None = len(CONTENT)
        self._descriptor = descriptor

    def ready(self, position: int) -> bool:
        return True

    async def piece(self, position: int, end: int | None) -> FilePiece:
        return FilePiece(self._descriptor, position, len(CONTENT) if end is None else end)

    async def discard(self) -> None:
        return

    def close(self) -> None:
        return


class Held(PlainFile):
    """Its thread has sent everything, and does not come back before the gate opens."""

    gate = threading.Event()
    sent_all = threading.Event()

    def send(self, most: int) -> Sent:
        taken = super().send(most)
        if not self.left:
            self.sent_all.set()
            self.gate.wait()
        return taken


async def never(sock: socket.socket, feed: Feed, pace: Pace) -> None:
    raise AssertionError("the socket takes everything")


@pytest.mark.parametrize("end", [len(CONTENT), 1000])
async def test_a_client_that_leaves_with_all_its_bytes_has_been_sent_them(end: int) -> None:
    Held.gate.clear()
    Held.sent_all.clear()
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as file, ThreadPoolExecutor(1) as threads:
        file.write(CONTENT)
        file.flush()
        stream = Stream(OneFile(file.fileno()), 0, end)
        wire = Wire(ours, math.inf, partial(Held, ours.fileno()), partial(PlainContent, ours))
        sending = asyncio.create_task(
            Streams(threads, 1, never, SenderRules()).send(wire, HEAD, stream, False, lambda: False)
        )
        await asyncio.to_thread(Held.sent_all.wait)
        sending.cancel()
        await asyncio.sleep(0)
        Held.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert (stream.sent, stream.is_out) == (end, True)
        assert theirs.recv(1 << 20) == HEAD + CONTENT[:end]
