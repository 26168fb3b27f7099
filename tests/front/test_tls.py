"""TLS in front of requests: who is let in, whom a certificate names, and that what goes out is whole or broken off."""

import asyncio
import hashlib
import socket
import ssl
import threading
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest

from proxy.config import TlsFiles
from proxy.core.access import Admission, Caller
from proxy.core.operations import Operation
from proxy.front.connections import ConnectionRules
from proxy.front.streams import SenderRules
from proxy.front.tls import TlsTerms
from proxy.front.tls_session import TlsSession
from tests.cast import FaultUpstream, roles
from tests.cast.authority import Authority
from tests.scenarios.client import Client, Cut, request
from tests.scenarios.house import APP, House, HouseRules, MiB, blob_path, manifest_path

Bytes = Callable[[int], bytes]


class Witness:
    """A gate that remembers who came."""

    def __init__(self) -> None:
        self.came: list[Caller] = []

    def admit(self, caller: Caller, operation: Operation) -> Admission:
        self.came.append(caller)
        return Admission.ADMITTED


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def terms(authority: Authority, demanded: bool | None = None, believed: Authority | None = None) -> TlsTerms:
    """As the configuration makes them; ``demanded`` is None where no certificates are asked for."""
    certificate, key = authority.files()
    ca = (believed or authority).ca_file if demanded is not None else None
    material = TlsFiles(certificate, key, ca, bool(demanded)).read()
    return TlsTerms(material.context(), authorities=material.client_ca)


@pytest.fixture
def rules(authority: Authority, request: pytest.FixtureRequest) -> HouseRules:
    """``tls_under`` says what differs."""
    more = getattr(request, "param", {})
    given = {"tls": terms(authority, more.get("demanded")), "clients_tls": trusting(authority), "gate": Witness()}
    return HouseRules(**{**given, **{key: value for key, value in more.items() if key != "demanded"}})


def tls_under(**changes: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("rules", [changes], ids=["under"], indirect=True)


def trusting(authority: Authority, certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return context


def callers(house: House) -> list[Caller]:
    assert isinstance(house.rules.gate, Witness)
    return house.rules.gate.came


async def came_in(house: House, context: ssl.SSLContext) -> bool:
    """Whether a request is answered. A client of TLS 1.3 is told only by its first read that it is refused."""
    try:
        async with await house.connect(tls=context) as client:
            await client.ask("/v2/")
            return (await client.reply()).status == 200
    except (OSError, Cut):
        return False


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.005)


# ---------------------------------------------------------------- handshakes


@pytest.mark.parametrize(
    ("version", "taken"),
    [
        (ssl.TLSVersion.TLSv1, False),
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_versions_are_refused(
    house: House, authority: Authority, version: ssl.TLSVersion, taken: bool
) -> None:
    context = trusting(authority)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, version
    context.minimum_version = version
    assert await came_in(house, context) is taken
    assert house.tls is not None
    assert house.tls.handshakes["failed"] == (not taken)


async def test_http_1_1_is_agreed_on_where_the_client_asks(house: House, authority: Authority) -> None:
    context = trusting(authority)
    context.set_alpn_protocols(["h2", "http/1.1"])
    _, writer = await asyncio.open_connection("127.0.0.1", house.port, ssl=context, server_hostname="localhost")
    try:
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    finally:
        writer.transport.abort()


async def test_a_session_is_resumed(house: House, authority: Authority) -> None:
    context = trusting(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def visit(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None]:
        plain = socket.create_connection(("127.0.0.1", house.port))
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as secure:
            secure.sendall(request("/v2/"))
            assert secure.recv(100).startswith(b"HTTP/1.1 200")
            return secure.session, secure.session_reused

    session, _ = await asyncio.to_thread(visit, None)
    _, resumed = await asyncio.to_thread(visit, session)
    assert resumed
    assert house.tls is not None
    assert house.tls.handshakes == {"full": 1, "resumed": 1, "failed": 0}


@pytest.mark.parametrize("octets", [request("/v2/"), b"\x00", b"PRI * HTTP/2.0\r\n\r\n"])
async def test_what_is_no_tls_is_told_so_and_ends(house: House, octets: bytes) -> None:
    plain = await Client.connect(house.port)
    await plain.send(octets)
    said = await plain.until_closed()
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"write https://" in said
    plain.leave()
    await house.connected(0)


@pytest.mark.parametrize("octets", [b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x01\xff\xff" + bytes(70_000)])
async def test_a_broken_handshake_ends_with_an_alert(house: House, octets: bytes) -> None:
    plain = await Client.connect(house.port)
    await plain.send(octets)
    try:
        assert (await plain.until_closed())[:1] == b"\x15"
    except Cut as cut:  # with something unread in it the socket is reset
        assert cut.body[:1] in {b"", b"\x15"}
    plain.leave()
    await house.connected(0)


@tls_under(connections=ConnectionRules(header_timeout=0.1))
async def test_a_handshake_that_does_not_come_is_not_waited_for(house: House) -> None:
    silent = await Client.connect(house.port)
    await silent.send(b"\x16")
    await house.connected(1)
    house.front.sweep(house.clock() + 1)
    await house.connected(0)
    silent.leave()


@tls_under(trusted_proxies=(ip_network("127.0.0.0/8"),))
async def test_a_load_balancer_names_the_client_in_clear_before_the_handshake(
    house: House, authority: Authority
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    try:
        writer.write(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n")
        await writer.start_tls(trusting(authority), server_hostname="localhost")
        writer.write(request("/v2/"))
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        assert [line.client for line in house.lines] == ["192.0.2.7"]
    finally:
        writer.transport.abort()


# ---------------------------------------------------------------- client certificates


@tls_under(demanded=True)
async def test_without_a_certificate_nobody_comes_in_where_one_is_demanded(
    house: House, authority: Authority, tmp_path: Path
) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    foreign = Authority(elsewhere)
    assert not await came_in(house, trusting(authority))
    assert not await came_in(house, trusting(authority, foreign.client("mallory")))
    assert not await came_in(house, trusting(authority, authority.client("past", days=-1)))
    assert not callers(house)
    assert await came_in(house, trusting(authority, authority.client("alice")))


@tls_under(demanded=True)
@pytest.mark.parametrize("path", ["in memory", "in a file"])
async def test_the_subject_names_the_caller_of_each_request(
    house: House, authority: Authority, upstream: FaultUpstream, some_bytes: Bytes, path: str
) -> None:
    alice = trusting(authority, authority.client("alice", ["ci", "dev"]))
    bob = trusting(authority, authority.client("bob"))
    digest = upstream.blob(APP, some_bytes(500 if path == "in memory" else MiB))
    for context, name, groups in [(alice, "alice", {"ci", "dev"}), (bob, "bob", set[str]())] * 3:
        callers(house).clear()
        async with await house.connect(tls=context) as client:
            for _ in range(3):
                await client.ask(blob_path(digest))
                assert (await client.reply()).status == 200
        assert {(each.name, each.groups) for each in callers(house)} == {(name, frozenset(groups))}


@tls_under(demanded=False)
async def test_where_none_is_demanded_whoever_has_none_is_anonymous(house: House, authority: Authority) -> None:
    assert await came_in(house, trusting(authority))
    assert await came_in(house, trusting(authority, authority.client("alice")))
    assert [each.name for each in callers(house)] == ["", "alice"]


@tls_under(demanded=True)
async def test_a_connection_ends_with_its_certificate(house: House, authority: Authority) -> None:
    assert house.tls is not None
    async with await house.connect(tls=trusting(authority, authority.client("alice"))) as client:
        await client.still_framed()
        (caller,) = house.tls.connections.values()
        house.tls.sweep(caller.until - 1)
        await client.still_framed()
        house.tls.sweep(caller.until + 1)
        assert await client.until_closed() == b""


# ---------------------------------------------------------------- other files


async def test_a_new_certificate_of_ours_ends_no_connection(
    house: House, authority: Authority, upstream: FaultUpstream, some_bytes: Bytes, tmp_path: Path
) -> None:
    assert house.tls is not None
    (elsewhere := tmp_path / "elsewhere").mkdir()
    other = Authority(elsewhere)
    digest = upstream.blob(APP, blob := some_bytes(2 * MiB))
    upstream.plays("blob", roles.holds(MiB, going_on := asyncio.Event()))
    async with await house.pull(blob_path(digest)) as running:
        head = await running.head()
        house.tls.renew(terms(other))
        assert not await came_in(house, trusting(authority))
        assert await came_in(house, trusting(other))
        going_on.set()
        assert await running.rest(head) == blob
        await running.still_framed()


@tls_under(demanded=True)
async def test_an_authority_that_is_believed_no_more_ends_its_connections_behind_their_replies(
    house: House, authority: Authority, upstream: FaultUpstream, some_bytes: Bytes, tmp_path: Path
) -> None:
    assert house.tls is not None
    (elsewhere := tmp_path / "elsewhere").mkdir()
    other = Authority(elsewhere)
    alice = trusting(authority, authority.client("alice"))
    digest = upstream.blob(APP, blob := some_bytes(2 * MiB))
    upstream.plays("blob", roles.holds(MiB, going_on := asyncio.Event()))
    async with await house.connect(tls=alice) as running, await house.connect(tls=alice) as idle:
        await idle.still_framed()
        await running.ask(blob_path(digest))
        head = await running.head()
        house.tls.renew(terms(authority, True, other))
        assert await idle.until_closed() == b""
        going_on.set()
        assert await running.rest(head) == blob
        assert await running.until_closed() == b""
    assert not await came_in(house, alice)
    assert await came_in(house, trusting(authority, other.client("bob")))


# ---------------------------------------------------------------- bodies


@pytest.mark.parametrize("size", [0, 1, 500, 16384, (64 << 10) + 1, MiB, 20 * MiB + 7])
async def test_a_blob_comes_whole_cold_held_and_in_part(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, size: int
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(size))
    for _ in range(3):
        reply = await house.get(blob_path(digest))
        assert (reply.status, hashlib.sha256(reply.body).hexdigest()) == (200, digest.partition(":")[2])
        await house.quiet()
    if size > 1:
        for start, end in [(0, 0), (size // 2, size - 1), (1, size // 2)]:
            part = await house.get(blob_path(digest), {"Range": f"bytes={start}-{end}"})
            assert (part.status, part.body) == (206, blob[start : end + 1])


async def test_a_growing_blob_is_followed_by_all(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    digest = upstream.blob(APP, blob := some_bytes(6 * MiB))
    upstream.plays("blob", roles.holds(3 * MiB, going_on := asyncio.Event()))
    clients = [await house.pull(blob_path(digest)) for _ in range(8)]
    heads = [await client.head() for client in clients]
    assert await clients[0].received(MiB) == blob[:MiB]
    going_on.set()
    assert await clients[0].received(5 * MiB) == blob[MiB:]
    for client, head in zip(clients[1:], heads[1:], strict=True):
        assert await client.rest(head) == blob
        await client.still_framed()
    assert sum(1 for line in upstream.ledger if "/blobs/" in str(line)) == 1


async def test_a_large_manifest_comes_whole(house: House, upstream: FaultUpstream) -> None:
    raw = b'{"schemaVersion":2,"config":{},"layers":[]' + b" " * (900 << 10) + b"}"
    upstream.manifest(APP, "v1", raw)
    for _ in range(2):
        reply = await house.get(manifest_path("v1"))
        assert reply.body == raw, reply.body[:300]


async def test_large_bodies_are_never_encrypted_in_the_loop(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed: list[tuple[bool, int]] = []
    seal, loop = TlsSession.sealed, threading.get_ident()

    def watched(session: TlsSession, content: bytes) -> bytes:
        sealed.append((threading.get_ident() == loop, len(content)))
        return seal(session, content)

    monkeypatch.setattr(TlsSession, "sealed", watched)
    digest = upstream.blob(APP, blob := some_bytes(8 * MiB))
    for _ in range(2):
        assert (await house.get(blob_path(digest))).body == blob
        await house.quiet()
    assert max(size for in_loop, size in sealed if in_loop) <= 64 << 10
    assert sum(size for in_loop, size in sealed if not in_loop) >= 16 * MiB


async def test_a_slow_reader_gets_all_and_holds_no_thread(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(4 * MiB))
    assert (await house.get(blob_path(digest))).body == blob
    slow = [await house.pull(blob_path(digest), buffer=4096) for _ in range(40)]
    heads = [await client.head() for client in slow]
    assert (await house.get(blob_path(digest))).body == blob  # more of them than there are threads
    bodies = await asyncio.gather(*(client.rest(head) for client, head in zip(slow, heads, strict=True)))
    assert all(body == blob for body in bodies)


@tls_under(sender=SenderRules(stall=0.3))
async def test_a_reader_that_takes_nothing_is_cut_without_a_last_word(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, some_bytes(64 * MiB))
    stalled = await house.pull(blob_path(digest), buffer=4096)
    head = await stalled.head()
    await until(lambda: house.access_log.cut > 0)
    with pytest.raises((Cut, ssl.SSLError)):
        await stalled.rest(head)


async def test_a_client_that_leaves_stops_its_stream(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    digest = upstream.blob(APP, blob := some_bytes(64 * MiB))
    assert (await house.get(blob_path(digest))).body == blob
    for _ in range(5):
        leaving = await house.pull(blob_path(digest), buffer=4096)
        await leaving.head()
        leaving.leave()
    await house.connected(0)
    await house.quiet()


async def test_a_body_that_breaks_off_is_no_whole_reply(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, some_bytes(4 * MiB))
    upstream.plays("blob", roles.lies(2 * MiB))
    async with await house.pull(blob_path(digest)) as client:
        head = await client.head()
        with pytest.raises(Cut):
            await client.rest(head)


async def test_requests_that_come_while_a_stream_is_under_way_are_answered_behind_it(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(3 * MiB))
    async with await house.connect() as client:
        await client.send(request(blob_path(digest)) + request("/v2/"))
        head = await client.head()
        await client.send(request("/v2/") * 2000)
        assert await client.rest(head) == blob
        for _ in range(2001):
            assert (await client.reply()).status == 200
