"""A token server that stumbles once, at the first pull of all."""

import pytest

from tests.cast import roles
from tests.zoo.manners import Bearer
from tests.zoo.pulls import Pulls, put_image
from tests.zoo.registries import REGISTRIES
from tests.zoo.registries.ecr import Ecr
from tests.zoo.registry import ScriptedRegistry

pytestmark = pytest.mark.asyncio(loop_scope="module")

GIVE_TOKENS = [kind.manners.name for kind in REGISTRIES if isinstance(kind.manners.auth, Bearer) or kind is Ecr]


@pytest.mark.parametrize("registry", GIVE_TOKENS, indirect=True)
async def test_a_token_server_that_fails_once_fails_no_pull(pulls: Pulls, registry: ScriptedRegistry) -> None:
    """docker/build-push-action#334, coursier/coursier#3665, godarch/darch#24."""
    image = put_image(registry, "hiccup")
    registry.trip_token_server(roles.fails(503))
    reply = await pulls.by_tag(registry, image)
    assert (reply.status, reply.body) == (200, image.raw), reply
    assert sum(host.unplayed for host in registry.hosts) == 0
