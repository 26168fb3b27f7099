"""Bytes that changed on the disk with nothing to show for it are found by proving again what is served."""

import asyncio
import os
from collections.abc import Callable

import pytest

from proxy.cache.doubts import VerifyRules
from proxy.core.names import Digest
from tests.cast import FaultUpstream, ManualClock
from tests.scenarios.conftest import under
from tests.scenarios.house import APP, House, MiB, blob_path

Bytes = Callable[[int], bytes]
DAY = 86_400.0


def flip(house: House, digest: Digest) -> None:
    """One bit, and all times as before."""
    path = house.folder / "blobs" / digest.algorithm / digest.encoded[:2] / digest.encoded
    found = path.stat()
    with path.open("r+b", buffering=0) as file:
        file.seek(MiB // 2)
        byte = (file.read(1) or b"")[0]
        file.seek(MiB // 2)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


async def proven(house: House, count: int) -> None:
    async with asyncio.timeout(20):
        while house.cache.proofs.stats.contents < count:
            await asyncio.sleep(0.01)


async def held(house: House, upstream: FaultUpstream, content: bytes) -> Digest:
    digest = upstream.blob(APP, content)
    assert (await house.get(blob_path(digest))).body == content
    await house.quiet()
    return digest


@under(verify=VerifyRules(DAY))
@pytest.mark.parametrize("restarted", [False, True])
async def test_what_was_proven_too_long_ago_is_proven_behind_the_answer_and_healed(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes, restarted: bool
) -> None:
    content = some_bytes(MiB)
    digest = await held(house, upstream, content)
    flip(house, digest)
    clock.advance(DAY - 600)
    if restarted:
        await house.restart()
    assert (await house.get(blob_path(digest))).body != content, "believed until it is too old"
    assert not len(house.cache.holdings.doubted)
    clock.advance(1200)
    await house.get(blob_path(digest))
    await proven(house, 1)
    assert house.cache.proofs.stats.bad == 1
    await house.quiet()
    assert (await house.get(blob_path(digest))).body == content
    await house.quiet()


@under(verify=VerifyRules(DAY))
async def test_a_proof_is_written_down_and_holds_over_a_restart(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes
) -> None:
    digest = await held(house, upstream, some_bytes(MiB))
    clock.advance(2 * DAY)
    await house.get(blob_path(digest))
    await proven(house, 1)
    clock.advance(DAY / 2)
    await house.restart()
    await house.get(blob_path(digest))
    assert (len(house.cache.holdings.doubted), house.cache.proofs.stats.contents) == (0, 0)


@under(verify=VerifyRules(DAY, on_read=True))
async def test_with_a_proof_before_each_answer_wrong_bytes_are_never_sent(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    content = some_bytes(MiB)
    digest = await held(house, upstream, content)
    flip(house, digest)
    for _ in range(2):
        assert (await house.get(blob_path(digest))).body == content
        await house.quiet()


async def test_what_lies_beside_the_books_is_counted(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    digest = await held(house, upstream, some_bytes(MiB))
    content = await house.catalog.contents.get(digest)
    assert content is not None
    await house.cache.holdings.discard(content)
    await house.cache.upkeep.tend()
    budget = house.cache.holdings.budget
    assert budget.beside["quarantine"] == MiB
    assert budget.beside["catalog"] == sum(path.stat().st_size for path in house.folder.glob("catalog*"))
    assert budget.used == sum(budget.beside.values())
