"""Other homes of bytes in front of upstream: asked first, believed no more than upstream, blamed for what they did."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs
from proxy.upstream.network import Network
from proxy.upstream.registry import HttpRegistry
from proxy.upstream.schemes import ChallengeAuthorizer
from proxy.upstream.settings import RegistrySettings
from tests.cast import FaultUpstream, ManualClock, roles
from tests.scenarios.client import Cut
from tests.scenarios.house import APP, House, HouseRules, MiB, blob_path
from tests.scenarios.invariants import ends_well, fetches, stored

BLOB = os.urandom(2 * MiB)


@pytest.fixture
async def peer(nothing_stays: None) -> AsyncIterator[FaultUpstream]:
    async with FaultUpstream() as peer:
        yield peer


@pytest.fixture
async def house(
    tmp_path: Path, upstream: FaultUpstream, peer: FaultUpstream, clock: ManualClock
) -> AsyncIterator[House]:
    """Its blobs may be had from the peer too."""
    async with task_group() as group:
        network = Network(RegistrySettings("peer", peer.url), Jobs(group))
        source = HttpRegistry(network, ChallengeAuthorizer(network))
        house = House(tmp_path / "cache", upstream, HouseRules(homes=lambda _: (source,)), clock)
        await house.start()
        yield house
        await ends_well(house)
        await source.close()
    assert upstream.unplayed == peer.unplayed == 0, "the scene has not shown its fault"


async def test_bytes_come_from_the_peer_and_the_right_to_them_from_upstream(
    house: House, upstream: FaultUpstream, peer: FaultUpstream
) -> None:
    digest = upstream.blob(APP, BLOB)
    peer.blob(APP, BLOB)
    assert (await house.get(blob_path(digest))).body == BLOB
    assert fetches(peer, digest) == 1
    assert sum(seen.sent for seen in upstream.requests("blob")) <= 1, "one check, no download"


async def test_what_upstream_does_not_give_this_repository_the_peer_does_not_either(
    house: House, peer: FaultUpstream
) -> None:
    digest = peer.blob(APP, BLOB)
    assert (await house.get(blob_path(digest))).status == 404
    assert peer.requests() == []


@pytest.mark.parametrize("answer", [404, 403, 500], ids=str)
async def test_a_peer_that_cannot_help_costs_one_question(
    house: House, upstream: FaultUpstream, peer: FaultUpstream, answer: int
) -> None:
    digest = upstream.blob(APP, BLOB)
    peer.always("blob", roles.answers(answer))
    assert (await house.get(blob_path(digest))).body == BLOB


async def test_a_peer_that_breaks_off_is_carried_on_by_upstream_from_the_last_byte(
    house: House, upstream: FaultUpstream, peer: FaultUpstream
) -> None:
    digest = upstream.blob(APP, BLOB)
    peer.blob(APP, BLOB)
    peer.plays("blob", roles.ends_early(MiB))
    peer.always("blob", roles.answers(404))
    assert (await house.get(blob_path(digest))).body == BLOB
    assert sum(seen.sent for seen in upstream.requests("blob")) <= MiB + 1


async def test_wrong_bytes_are_blamed_on_the_peer_alone(
    house: House, upstream: FaultUpstream, peer: FaultUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    digest = upstream.blob(APP, BLOB)
    peer.blob(APP, BLOB)
    gate = asyncio.Event()
    peer.plays("blob", roles.lies(MiB, roles.holds(len(BLOB) - 1, gate)))
    async with await house.pull(blob_path(digest)) as client:
        head = await client.head()
        gate.set()
        with pytest.raises(Cut):
            await client.rest(head)
    await house.quiet()
    assert "peer: it sent wrong bytes" in caplog.text
    assert (await house.get(blob_path(digest))).body == BLOB, "upstream is not distrusted"
    assert fetches(peer, digest) == 1
    await house.quiet()
    assert set(stored(house.folder)) == {digest}
