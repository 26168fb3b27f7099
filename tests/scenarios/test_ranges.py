"""Ranges and conditions, on what is held and on what is arriving."""

import asyncio
from collections.abc import Callable

import pytest

from tests.cast import FaultUpstream, roles
from tests.scenarios.house import APP, House, MiB, blob_path
from tests.scenarios.invariants import fetches

Bytes = Callable[[int], bytes]
SIZE = 2 * MiB + 5

CASES = {
    "from the start": ("bytes=0-99", 0, 100),
    "in the middle": ("bytes=1000000-1999999", 1_000_000, 2_000_000),
    "open": ("bytes=100-", 100, SIZE),
    "suffix": ("bytes=-7", SIZE - 7, SIZE),
    "suffix longer than the blob": (f"bytes=-{SIZE + 1}", 0, SIZE),
    "last byte": (f"bytes={SIZE - 1}-{SIZE - 1}", SIZE - 1, SIZE),
    "beyond the end": ("bytes=5-99999999", 5, SIZE),
}


@pytest.mark.parametrize(("asked", "start", "end"), CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("held", [True, False], ids=["held", "cold"])
async def test_a_range_is_answered_with_exactly_its_bytes(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, asked: str, start: int, end: int, held: bool
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(SIZE))
    if held:
        await house.get(blob_path(digest))
        await house.quiet()
    reply = await house.get(blob_path(digest), {"Range": asked})
    assert (reply.status, reply.body) == (206, blob[start:end])
    assert reply.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert fetches(upstream, digest) == 1


async def test_a_range_is_sent_as_soon_as_its_bytes_are_there(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(SIZE))
    upstream.plays("blob", roles.holds(MiB, gate := asyncio.Event()))
    async with await house.pull(blob_path(digest)) as whole:
        head = await whole.head()
        early = await house.get(blob_path(digest), {"Range": "bytes=500000-599999"})
        assert (early.status, early.body) == (206, blob[500_000:600_000])
        late = await house.pull(blob_path(digest), {"Range": "bytes=1900000-1900009"})
        assert (await late.head()).status == 206
        gate.set()
        assert await late.received(10) == blob[1_900_000:1_900_010]
        await late.still_framed()
        late.leave()
        assert await whole.rest(head) == blob
    assert fetches(upstream, digest) == 1


@pytest.mark.parametrize("held", [True, False], ids=["held", "cold"])
async def test_a_range_behind_the_end_is_told_the_size(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, held: bool
) -> None:
    digest = upstream.blob(APP, some_bytes(SIZE))
    if held:
        await house.get(blob_path(digest))
        await house.quiet()
    reply = await house.get(blob_path(digest), {"Range": f"bytes={SIZE}-"})
    assert (reply.status, reply.headers["content-range"]) == (416, f"bytes */{SIZE}")


async def test_several_ranges_are_asked_for_one_at_a_time(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, some_bytes(SIZE))
    assert (await house.get(blob_path(digest), {"Range": "bytes=0-1,5-6"})).status == 400
    assert upstream.ledger == []


@pytest.mark.parametrize("asked", ["lines=1-2", "bytes=", "bytes=-", "bytes=5-2", "bytes=a-b", "bytes=1-2x"])
async def test_a_range_that_makes_no_sense_is_ignored(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, asked: str
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(5000))
    reply = await house.get(blob_path(digest), {"Range": asked})
    assert (reply.status, reply.body) == (200, blob)


async def test_if_range_decides_between_the_part_and_the_whole(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, blob := some_bytes(SIZE))
    part = await house.get(blob_path(digest), {"Range": "bytes=1-2", "If-Range": f'"{digest}"'})
    assert (part.status, part.body) == (206, blob[1:3])
    for other in ('"sha256:other"', f'W/"{digest}"', "Tue, 15 Nov 1994 12:45:26 GMT"):
        whole = await house.get(blob_path(digest), {"Range": "bytes=1-2", "If-Range": other})
        assert (whole.status, whole.body) == (200, blob)


@pytest.mark.parametrize("form", ['"{}"', 'W/"{}"', "{}", '"x", "{}"', "*"])
async def test_what_the_client_has_already_is_not_sent(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, form: str
) -> None:
    digest = upstream.blob(APP, some_bytes(SIZE))
    await house.get(blob_path(digest))
    await house.quiet()
    for method in ("GET", "HEAD"):
        reply = await house.get(blob_path(digest), {"If-None-Match": form.format(digest)}, method)
        assert (reply.status, reply.body) == (304, b"")
        assert reply.headers["etag"] == f'"{digest}"'
    other = await house.get(blob_path(digest), {"If-None-Match": '"sha256:other"'})
    assert (other.status, len(other.body)) == (200, SIZE)
