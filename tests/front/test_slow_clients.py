"""Readers whose sockets are full: served by their own thread to the last byte, or given up."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from proxy.cache.body import FilePiece
from proxy.core.errors import StoreFailed
from proxy.front.plain_sender import PlainFile
from proxy.front.sender import ClientGone
from proxy.front.slow_clients import SlowClientRules, SlowClients, slow_clients
from proxy.front.streams import Pace, SenderRules

MiB = 1 << 20
CONTENT = os.urandom(2 * MiB)


@pytest.fixture
def readers() -> Iterator[SlowClients]:
    with slow_clients() as readers:
        yield readers


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "blob").write_bytes(CONTENT)
    descriptor = os.open(tmp_path / "blob", os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


class Pair:
    """A connection whose client side reads only what it is told to."""

    def __init__(self) -> None:
        self.ours, self.client = socket.socketpair()
        self.ours.setblocking(False)
        self.client.setblocking(False)

    def __enter__(self) -> "Pair":
        return self

    def __exit__(self, *_: object) -> None:
        self.ours.close()
        self.client.close()

    def feed(self, file: int, start: int, end: int) -> PlainFile:
        return PlainFile(self.ours.fileno(), FilePiece(file, start, end))

    async def read(self, count: int) -> bytes:
        content = bytearray()
        while len(content) < count:
            content += await asyncio.get_running_loop().sock_recv(self.client, min(8192, count - len(content)))
        return bytes(content)


async def test_many_readers_each_get_their_part_whole(readers: SlowClients, file: int) -> None:
    with ExitStack() as stack:
        pairs = [stack.enter_context(Pair()) for _ in range(20)]
        sends = [
            asyncio.create_task(readers.send(pair.ours, pair.feed(file, number, MiB + number), Pace(SenderRules())))
            for number, pair in enumerate(pairs)
        ]
        received = await asyncio.gather(*(pair.read(MiB) for pair in pairs))
        await asyncio.gather(*sends)
    assert received == [CONTENT[number : MiB + number] for number in range(20)]
    assert len(readers) == 0


async def test_one_that_takes_much_without_a_pause_is_given_back_before_the_end(file: int) -> None:
    with slow_clients(SlowClientRules(share=4096, fast=3 * 4096)) as readers, Pair() as pair:
        feed = pair.feed(file, 0, MiB)
        await readers.send(pair.ours, feed, Pace(SenderRules()))
        assert feed.left == MiB - 3 * 4096
        assert await pair.read(3 * 4096) == CONTENT[: 3 * 4096]


async def test_one_that_takes_nothing_is_given_up(readers: SlowClients, file: int) -> None:
    with Pair() as pair, pytest.raises(ClientGone, match="took nothing"):
        await readers.send(pair.ours, pair.feed(file, 0, MiB), Pace(SenderRules(stall=0.01)))
    assert len(readers) == 0


def test_one_that_takes_too_little_on_average_is_given_up() -> None:
    pace = Pace(SenderRules(stall=60, slowest=1000))
    for _ in range(6):
        pace.waited(10)
        pace.sent(9_000)
    with pytest.raises(ClientGone, match="took 54000 bytes in 61 s"):
        pace.waited(1)


def test_one_that_takes_enough_now_and_then_stays() -> None:
    pace = Pace(SenderRules(stall=60, slowest=1000))
    for _ in range(100):
        pace.sent(60_000)
        pace.waited(59)


async def test_one_that_leaves_is_noticed_and_the_others_go_on(readers: SlowClients, file: int) -> None:
    with Pair() as leaving, Pair() as staying:
        gone = asyncio.create_task(readers.send(leaving.ours, leaving.feed(file, 0, MiB), Pace(SenderRules())))
        stays = asyncio.create_task(readers.send(staying.ours, staying.feed(file, 0, MiB), Pace(SenderRules())))
        await leaving.read(1)
        leaving.client.close()
        with pytest.raises(ClientGone):
            await gone
        assert await staying.read(MiB) == CONTENT[:MiB]
        await stays


async def test_a_cancelled_send_leaves_nothing_to_the_thread(readers: SlowClients, file: int) -> None:
    with Pair() as pair:
        send = asyncio.create_task(readers.send(pair.ours, pair.feed(file, 0, MiB), Pace(SenderRules())))
        await pair.read(1)
        assert len(readers) == 1
        send.cancel()
        with pytest.raises(asyncio.CancelledError):
            await send
        assert len(readers) == 0


async def test_a_file_that_ends_too_early_is_a_failure_of_the_store(readers: SlowClients, file: int) -> None:
    end = len(CONTENT)
    with Pair() as pair, pytest.raises(StoreFailed, match="ended before its time"):
        await readers.send(pair.ours, pair.feed(file, end - 10, end + 10), Pace(SenderRules()))
