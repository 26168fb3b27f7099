"""The first byte takes its time: whoever waits gets it, and late comers wait for the same answer."""

import asyncio

import pytest

from tests.zoo.pulls import Pulls, blob_path, manifest_path, outcome, put_image
from tests.zoo.registry import ScriptedRegistry

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_slow_blob_is_fetched_once_for_all_who_wait(pulls: Pulls, registry: ScriptedRegistry) -> None:
    image = put_image(registry, "slow")
    await pulls.by_tag(registry, image)
    path = blob_path(registry, image.name, image.layer)
    registry.bodies.gate = asyncio.Event()
    first = await pulls.asking(path)
    await waits(registry)
    others = [await pulls.asking(path) for _ in range(3)]
    await pulls.requests_under_way(4)
    registry.bodies.gate.set()
    replies = [await client.reply() for client in (first, *others)]
    for client in (first, *others):
        client.leave()
    assert {reply.body for reply in replies} == {image.blobs[image.layer]}
    assert outcome(replies[0]) == "fwd=miss; stored"
    assert {outcome(reply) for reply in replies[1:]} == {"fwd=miss; collapsed"}
    assert len(registry.transfers(image.layer)) == 1


async def test_a_slow_manifest_is_fetched_once_for_all_who_wait(pulls: Pulls, registry: ScriptedRegistry) -> None:
    image = put_image(registry, "slow-manifest")
    path = manifest_path(registry, image.name, image.tag)
    registry.bodies.gate = asyncio.Event()
    clients = [await pulls.asking(path) for _ in range(4)]
    await waits(registry)
    await pulls.requests_under_way(4)
    registry.bodies.gate.set()
    replies = [await client.reply() for client in clients]
    for client in clients:
        client.leave()
    assert {reply.body for reply in replies} == {image.raw}
    assert sorted(outcome(reply) for reply in replies) == [*["fwd=miss; collapsed"] * 3, "fwd=miss; stored"]
    assert registry.shown["waited for the gate"] == 1


async def waits(registry: ScriptedRegistry) -> None:
    async with asyncio.timeout(20):
        while not registry.shown["waited for the gate"]:
            await asyncio.sleep(0.01)
