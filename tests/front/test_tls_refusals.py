"""What the TLS listener refuses, whatever a client's own library still speaks: hellos are put together here, byte by
byte, and one that is as it should be shows that each of them would be understood."""

import asyncio
import shutil
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from proxy.config import TlsFiles
from proxy.front.tls import TlsTerms
from tests.cast.authority import Authority
from tests.scenarios.house import House, HouseRules

SSL_3, TLS_1_0, TLS_1_1, TLS_1_2 = 0x0300, 0x0301, 0x0302, 0x0303
PROTOCOL_VERSION, HANDSHAKE_FAILURE = 70, 40  # RFC 8446 section 6.2
GOOD = (0xC02B, 0xC02F)  # ECDHE with AES-128-GCM, for either kind of key
CBC = (0xC009, 0xC013, 0xC00A, 0xC014, 0x002F, 0x0035, 0x0005, 0x000A)  # what old versions have
NO_COMPRESSION, DEFLATE = 0, 1
EXTENSIONS = bytes.fromhex(
    "000a0006 0004001d0017"  # supported_groups: x25519, secp256r1
    "000b0002 0100"  # ec_point_formats: uncompressed
    "000d000e 000c 0403 0804 0401 0503 0203 0201"  # signature_algorithms, those with SHA-1 too
    "ff010001 00"  # renegotiation_info
)


class Answer(NamedTuple):
    """Of a server to a hello: what it chose, or its alert."""

    version: int = 0
    cipher: int = 0
    compression: int = 0
    alert: int | None = None


@pytest.fixture
def rules(tmp_path: Path) -> HouseRules:
    authority = Authority(tmp_path)
    context = TlsFiles(*authority.files(), None, False).read().context()
    return HouseRules(tls=TlsTerms(context), clients_tls=ssl.create_default_context(cafile=str(authority.ca_file)))


def hello(version: int, ciphers: Sequence[int], compressions: Sequence[int] = (NO_COMPRESSION,)) -> bytes:
    """RFC 5246 section 7.4.1.2, in one record."""
    suites = b"".join(cipher.to_bytes(2, "big") for cipher in ciphers)
    body = version.to_bytes(2, "big") + bytes(32) + b"\0" + len(suites).to_bytes(2, "big") + suites
    body += bytes([len(compressions), *compressions]) + len(EXTENSIONS).to_bytes(2, "big") + EXTENSIONS
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16" + min(version, TLS_1_0).to_bytes(2, "big") + len(message).to_bytes(2, "big") + message


async def told(house: House, octets: bytes) -> bytes:
    """All that comes back, up to the end or the first whole record of TLS."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    try:
        writer.write(octets)
        writer.write_eof()
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()


async def answer(house: House, octets: bytes) -> Answer:
    came = await told(house, octets)
    record, size = came[0], int.from_bytes(came[3:5], "big")
    payload = came[5 : 5 + size]
    if record == 0x15:  # alert
        return Answer(alert=payload[1])
    assert (record, payload[0]) == (0x16, 2), "neither an alert nor a ServerHello"
    session = payload[38]
    behind = payload[39 + session :]
    return Answer(int.from_bytes(payload[4:6], "big"), int.from_bytes(behind[:2], "big"), behind[2])


async def test_a_hello_as_it_should_be_is_answered(house: House) -> None:
    found = await answer(house, hello(TLS_1_2, GOOD))
    assert (found.version, found.alert, found.cipher in GOOD) == (TLS_1_2, None, True)


@pytest.mark.parametrize("version", [SSL_3, TLS_1_0, TLS_1_1], ids=["SSL 3", "TLS 1.0", "TLS 1.1"])
async def test_versions_below_1_2_are_refused(house: House, version: int) -> None:
    found = (await answer(house, hello(version, (*CBC, *GOOD)))).alert
    assert found == PROTOCOL_VERSION or (version == SSL_3 and found == HANDSHAKE_FAILURE)  # which has no other word


async def test_a_hello_of_ssl_2_is_none(house: House) -> None:
    octets = bytes.fromhex("802e0100020015000000100100800200800300800400800500800600400700c0") + bytes(16)
    assert (await told(house, octets)).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "ciphers",
    [
        pytest.param((0x0001, 0x0002, 0x003B, 0xC006, 0xC010), id="without encryption"),
        pytest.param((0x0018, 0x0034, 0x006C, 0x00A6, 0xC016, 0xC018, 0xC019), id="without a certificate"),
        pytest.param((0x0003, 0x0006, 0x0008, 0x000E, 0x0014, 0x0017, 0x0019), id="export"),
        pytest.param((0x0004, 0x0005, 0xC007, 0xC011), id="RC4"),
        pytest.param((0x0009, 0x0015), id="DES"),
        pytest.param((0x000A, 0x0016, 0xC008, 0xC012), id="3DES"),
        pytest.param((0x0007, 0x0041, 0x0084, 0x0096), id="IDEA, Camellia, SEED"),
        pytest.param((0x002F, 0x0035, 0x003C, 0x003D, 0x009C, 0x009D), id="without forward secrecy"),
        pytest.param((0x008C, 0x00A8, 0xC035), id="a shared key"),
        pytest.param((0xC009, 0xC013, 0xC00A, 0xC014), id="SHA-1"),
    ],
)
async def test_weak_ciphers_are_refused(house: House, ciphers: Sequence[int]) -> None:
    assert (await answer(house, hello(TLS_1_2, ciphers))).alert == HANDSHAKE_FAILURE
    assert (await answer(house, hello(TLS_1_2, (*ciphers, *GOOD)))).cipher in GOOD


async def test_nothing_is_compressed(house: House) -> None:
    """CRIME: what is compressed tells of secrets by its length."""
    found = await answer(house, hello(TLS_1_2, GOOD, (DEFLATE, NO_COMPRESSION)))
    assert (found.alert, found.compression) == (None, NO_COMPRESSION)
    assert (await answer(house, hello(TLS_1_2, GOOD, (DEFLATE,)))).alert is not None


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
async def test_nothing_is_renegotiated(house: House) -> None:
    """``R`` asks for it, in words of s_client(1)."""
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-connect", f"127.0.0.1:{house.port}", "-tls1_2"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    said = await process.stdout.readuntil(b"---\nSSL handshake has read")
    process.stdin.write(b"R\n")
    async with asyncio.timeout(60):
        rest = await process.stdout.read()
        await process.wait()
    process.stdin.close()
    assert b"RENEGOTIATING" in said + rest
    assert b"no renegotiation" in rest, rest.decode()


async def test_plain_http_gets_a_clear_answer_and_the_end(house: House) -> None:
    came = await told(house, b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert came.startswith(b"HTTP/1.1 400 ")
    assert b"https://" in came
    assert b"connection: close" in came.lower()
