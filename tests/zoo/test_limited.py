"""The registry says that there were too many requests, in its own words."""

import pytest

from tests.zoo.pulls import Pulls, is_served_stale, put_image
from tests.zoo.registry import ScriptedRegistry

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_known_tag_is_served_and_a_cold_pull_hears_when_to_come_again(
    pulls: Pulls, registry: ScriptedRegistry
) -> None:
    image, cold = put_image(registry, "limited"), put_image(registry, "limited-cold")
    await pulls.whole(registry, image)
    registry.up.plays("manifest", registry.limited)
    await is_served_stale(pulls, registry, image)
    assert registry.up.unplayed == 0
    asked = len(registry.asked("manifest"))
    reply = await pulls.by_tag(registry, cold)
    if reply.status == 200:  # the limit was over meanwhile
        assert reply.body == cold.raw
    else:
        assert (reply.status, int(reply.headers["retry-after"]) >= 1) == (429, True), reply
        assert len(registry.asked("manifest")) == asked
