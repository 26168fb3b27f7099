"""A sender writes to the kind of connection that it is for, and to no other."""

import asyncio
import logging
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from proxy.cache.body import BytesBody
from proxy.front.plain_sender import PlainSender
from proxy.front.replies import Stream
from proxy.front.sender import TransportUnfit
from proxy.front.slow_clients import slow_clients
from proxy.front.streams import SenderRules, Streams
from tests.cast.authority import Authority
from tests.scenarios.client import request
from tests.scenarios.house import House


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def sender() -> Iterator[PlainSender]:
    with ThreadPoolExecutor(1) as threads, slow_clients() as slow:
        yield PlainSender(Streams(threads, 1, slow.send, SenderRules()))


async def came(authority: Authority, port: int, asked: bytes) -> bytes:
    """All that a TLS client is sent, however the connection ends. A byte in clear would break its records."""
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
    except ConnectionError:
        return b""
    try:
        writer.write(asked)
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


async def test_an_encrypted_connection_is_refused_before_a_byte_and_loudly(
    house: House, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(house.front.protocol, "127.0.0.1", 0, ssl=authority.server())
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        with caplog.at_level(logging.ERROR, "entrepot.front"):
            assert await came(authority, port, request("/v2/")) == b""
    assert "it is encrypted" in caplog.text
    assert not house.front.connections


@pytest.mark.parametrize("streams", [True, False], ids=["a stream", "bytes"])
async def test_the_plain_sender_writes_nothing_to_an_encrypted_connection(
    authority: Authority, sender: PlainSender, streams: bool
) -> None:
    refused = asyncio.get_running_loop().create_future()

    class Writes(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            self._task = asyncio.create_task(self._write())

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
            self._transport = transport

        async def _write(self) -> None:
            try:
                if streams:
                    body = Stream(BytesBody(b"secret"), 0, 6)
                    await sender.send_stream(self._transport, b"head", body, False)  # type: ignore[arg-type]
                else:
                    await sender.send(self._transport, b"secret")  # type: ignore[arg-type]
            except TransportUnfit as misfit:
                refused.set_result(misfit)

    loop = asyncio.get_running_loop()
    async with await loop.create_server(Writes, "127.0.0.1", 0, ssl=authority.server()) as listener:
        assert await came(authority, listener.sockets[0].getsockname()[1], b"x") == b""
    assert isinstance(await refused, TransportUnfit)
