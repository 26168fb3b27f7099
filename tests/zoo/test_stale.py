"""Something else answers in the registry's place: what is held is served on, and afterwards all is as before."""

import pytest

from tests.zoo.pulls import Pulls, is_served_stale, put_image
from tests.zoo.registry import ScriptedRegistry

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_known_tag_is_served_while_something_else_stands_in_front(
    pulls: Pulls, registry: ScriptedRegistry
) -> None:
    """A gateway's error, a maintenance page, a sign-in page: each kind has its own."""
    image = put_image(registry, "in-front")
    await pulls.whole(registry, image)
    asked = len(registry.asked("manifest"))
    registry.close()
    await is_served_stale(pulls, registry, image)
    assert len(registry.asked("manifest")) > asked
    registry.open()
    await pulls.comes_back(registry, image)


@pytest.mark.parametrize("kind", ["manifest", "blob"])
async def test_what_stands_in_front_is_never_content(pulls: Pulls, registry: ScriptedRegistry, kind: str) -> None:
    image = put_image(registry, f"page-{kind}")
    registry.close()
    if kind == "manifest":
        reply = await pulls.by_tag(registry, image)
        assert reply.status in {502, 503, 504}, reply
    else:
        assert await pulls.refused_or_cut(registry, image, image.layer)
    registry.open()
    await pulls.comes_back(registry, image)
    await pulls.whole(registry, image)
