"""What is held costs no second transfer; a tag is looked at, in a way that the registry knows."""

import pytest

from tests.zoo.pulls import Pulls, outcome, put_image
from tests.zoo.registry import ScriptedRegistry

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_held_image_is_served_without_a_second_transfer(pulls: Pulls, registry: ScriptedRegistry) -> None:
    image = put_image(registry, "warm")
    await pulls.whole(registry, image)
    blobs = len(registry.asked("blob"))
    by_digest = await pulls.by_digest(registry, image)
    assert (by_digest.body, outcome(by_digest)) == (image.raw, "hit")
    for digest, content in image.blobs.items():
        reply = await pulls.blob(registry, image, digest)
        assert (reply.body, outcome(reply)) == (content, "hit")
    assert len(registry.asked("blob")) == blobs


async def test_a_tag_that_has_not_moved_is_confirmed(pulls: Pulls, registry: ScriptedRegistry) -> None:
    image = put_image(registry, "confirmed")
    await pulls.by_tag(registry, image)
    asked = len(registry.asked("manifest"))
    again = await pulls.by_tag(registry, image)
    assert (again.status, again.body) == (200, image.raw), again
    assert len(registry.asked("manifest")) > asked
    if registry.manners.head_manifest == 200:
        assert outcome(again) == "fwd=stale"
        assert registry.asked("manifest")[-1].method == "HEAD"  # costs no quota
    else:
        assert registry.shown["HEAD of a manifest refused"]
        assert registry.asked("manifest")[-1].method == "GET"


async def test_a_tag_that_has_moved_is_followed(pulls: Pulls, registry: ScriptedRegistry) -> None:
    image = put_image(registry, "moving")
    await pulls.by_tag(registry, image)
    moved = image.raw.replace(b'"schemaVersion": 2', b'"schemaVersion":  2')
    digest = registry.put_manifest(image.name, image.tag, moved)
    reply = await pulls.by_tag(registry, image)
    assert (reply.status, reply.body) == (200, moved), reply
    assert reply.headers["docker-content-digest"] == digest


@pytest.mark.parametrize("registry", ["registry.example.com"], indirect=True)
@pytest.mark.parametrize("status", [401, 403, 404, 405, 501])
async def test_a_refused_head_is_no_verdict_on_a_tag(pulls: Pulls, registry: ScriptedRegistry, status: int) -> None:
    """containerd/containerd#6684 (403), crazy-max/diun#1614 (404), distribution/distribution#1485 (405)."""
    image = put_image(registry, f"head-{status}")
    await pulls.by_tag(registry, image)
    registry.head_manifest = status
    reply = await pulls.by_tag(registry, image)
    assert (reply.status, reply.body) == (200, image.raw), reply
    assert registry.asked("manifest")[-1].method == "GET"
