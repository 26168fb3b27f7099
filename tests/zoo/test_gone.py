"""Nobody is there any more: registry, storage and token server refuse every connection."""

import json

import pytest
import pytest_asyncio

from tests.zoo.pulls import Image, Pulls, base_path, is_served_stale, put_image, reason
from tests.zoo.registry import OCI_INDEX, ScriptedRegistry

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def images() -> dict[str, Image]:
    return {}


@pytest_asyncio.fixture(loop_scope="module")
async def left(pulls: Pulls, registry: ScriptedRegistry, images: dict[str, Image]) -> Image:
    """Of a registry that is gone: an image that was pulled from it, and its lists asked for."""
    if registry.name not in images:
        image = put_image(registry, "gone")
        await pulls.whole(registry, image)
        await pulls.get(f"{base_path(registry, image.name)}/tags/list")
        await pulls.get(f"{base_path(registry, image.name)}/referrers/{image.digest}")
        await registry.vanish()
        images[registry.name] = image
    return images[registry.name]


async def test_a_known_tag_and_held_blobs_are_served(pulls: Pulls, registry: ScriptedRegistry, left: Image) -> None:
    await is_served_stale(pulls, registry, left)


async def test_tags_are_listed_from_what_is_held(pulls: Pulls, registry: ScriptedRegistry, left: Image) -> None:
    reply = await pulls.get(f"{base_path(registry, left.name)}/tags/list")
    assert reply.status == 200, reply
    assert json.loads(reply.body)["tags"] == [left.tag]
    assert "detail=stale" in reply.headers["cache-status"]


async def test_referrers_are_those_that_were_known(pulls: Pulls, registry: ScriptedRegistry, left: Image) -> None:
    reply = await pulls.get(f"{base_path(registry, left.name)}/referrers/{left.digest}")
    if registry.manners.referrers:
        assert (reply.status, reply.headers["content-type"]) == (200, OCI_INDEX), reply
        assert "detail=stale" in reply.headers["cache-status"]
    else:
        assert reply.status in {200, 404}


async def test_what_is_not_held_is_an_outage(pulls: Pulls, registry: ScriptedRegistry, left: Image) -> None:
    reply = await pulls.get(f"{base_path(registry, left.name)}/manifests/never-pulled")
    assert reply.status in {502, 503, 504}, reply
    assert reason(reply)[0] == "UNAVAILABLE"
