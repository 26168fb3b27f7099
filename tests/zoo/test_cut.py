"""Answers that break off: the client notices nothing."""

import json

import pytest

from tests.cast import Act, roles
from tests.zoo.manners import Ranges
from tests.zoo.pulls import LAYER, Pulls, base_path, put_image
from tests.zoo.registries import REGISTRIES
from tests.zoo.registry import ScriptedRegistry

pytestmark = pytest.mark.asyncio(loop_scope="module")

CUTS = {"nothing": 0, "first byte": 1, "half": LAYER // 2, "all but one": LAYER - 1}


@pytest.mark.parametrize("at", CUTS.values(), ids=CUTS.keys())
async def test_a_blob_that_breaks_off_is_resumed(pulls: Pulls, registry: ScriptedRegistry, at: int) -> None:
    image = put_image(registry, f"cut-{at}")
    registry.bodies.instead.append(roles.ends_early(at))
    reply = await pulls.blob(registry, image, image.layer)
    assert (reply.status, reply.body) == (200, image.blobs[image.layer]), (reply.status, len(reply.body))
    assert len(registry.transfers(image.layer)) == (2 if at else 1)
    if at:
        resumes_as_it_can(registry)
    await pulls.settled()
    held = await pulls.blob(registry, image, image.layer)
    assert held.headers["cache-status"] == "entrepot; hit"


def resumes_as_it_can(registry: ScriptedRegistry) -> None:
    """By Range; and without one from a registry that takes none."""
    storage = registry.manners.storage
    ranges = storage.ranges if storage is not None else registry.manners.ranges
    if ranges is not Ranges.SERVED:
        assert registry.shown[f"range {ranges.value}"]
    assert not registry.shown["signature used twice"]
    assert not registry.shown["storage was shown a credential"]


REFUSALS = [
    (kind.manners.name, status)
    for kind in REGISTRIES
    for status in ((400, 403, 404, 503) if kind.manners.storage else (404, 503))
]
"""What storage may say to a resume; what a registry may say that sends blobs itself."""


@pytest.mark.parametrize(("registry", "status"), REFUSALS, indirect=["registry"])
async def test_a_resume_that_is_refused_once_is_asked_of_the_registry_anew(
    pulls: Pulls, registry: ScriptedRegistry, status: int
) -> None:
    image = put_image(registry, f"refused-{status}")
    refusal = roles.answers(status, b"<Error><Code>Refused</Code></Error>", {"Content-Type": "application/xml"})
    registry.bodies.instead.extend([roles.ends_early(LAYER // 2), refusal])
    reply = await pulls.blob(registry, image, image.layer)
    assert (reply.status, reply.body) == (200, image.blobs[image.layer]), (reply.status, len(reply.body))
    assert len(registry.asked("blob", "GET")) >= 3


CUT_OFF: dict[str, Act] = {"a promised length": roles.ends_early(40), "a chunk": roles.chunked(20, cut_after=2)}


@pytest.mark.parametrize("cut", CUT_OFF.values(), ids=CUT_OFF.keys())
async def test_a_manifest_that_breaks_off_is_fetched_again(pulls: Pulls, registry: ScriptedRegistry, cut: Act) -> None:
    image = put_image(registry, "manifest-cut")
    await pulls.by_digest(registry, put_image(registry, "manifest-before"))  # so that a token is there
    registry.up.plays(f"/v2/{image.name}/manifests/{image.tag}", cut)
    reply = await pulls.by_tag(registry, image)
    assert registry.up.unplayed == 0
    assert (reply.status, reply.body) == (200, image.raw), reply


async def test_a_list_of_tags_that_breaks_off_is_fetched_again(pulls: Pulls, registry: ScriptedRegistry) -> None:
    image = put_image(registry, "tags-cut")
    await pulls.by_digest(registry, image)
    registry.up.plays(f"/v2/{image.name}/tags/list", roles.ends_early(5))
    reply = await pulls.get(f"{base_path(registry, image.name)}/tags/list")
    assert registry.up.unplayed == 0
    assert reply.status == 200, reply
    assert json.loads(reply.body)["tags"] == [image.tag]
