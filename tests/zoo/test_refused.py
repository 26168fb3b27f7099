"""A no is a no, said with its reason and without a challenge; a token that is not good any more is no no."""

import pytest

from tests.zoo.manners import Bearer
from tests.zoo.pulls import Pulls, base_path, put_image, reason
from tests.zoo.registries import REGISTRIES
from tests.zoo.registries.ecr import Ecr
from tests.zoo.registry import ScriptedRegistry

pytestmark = pytest.mark.asyncio(loop_scope="module")


GIVE_TOKENS = [kind.manners.name for kind in REGISTRIES if isinstance(kind.manners.auth, Bearer) or kind is Ecr]
KNOW_USERS = [
    kind.manners.name for kind in REGISTRIES if kind is not Ecr and kind.manners.auth and kind.manners.auth.user
]


async def test_a_private_repository_is_refused(pulls: Pulls, registry: ScriptedRegistry) -> None:
    image = put_image(registry, "private")
    registry.private.add(image.name)
    before = len(registry.asked("manifest"))
    for reply in (await pulls.by_tag(registry, image), await pulls.blob(registry, image, image.layer)):
        assert reply.status in registry.manners.refuses, reply
        assert reason(reply)[0] in {"DENIED", "NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN"}
        assert "www-authenticate" not in reply.headers  # or clients would send us what they have for the registry
    assert registry.shown["private refused"]
    assert len(registry.asked("manifest")) <= before + 3  # with no token, with one, with another


async def test_a_refused_repository_says_nothing_against_the_others(pulls: Pulls, registry: ScriptedRegistry) -> None:
    closed = put_image(registry, "closed")
    registry.private.add(closed.name)
    for _ in range(6):
        assert (await pulls.by_tag(registry, closed)).status in registry.manners.refuses
    await pulls.whole(registry, put_image(registry, "open"))


@pytest.mark.parametrize("registry", GIVE_TOKENS, indirect=True)
async def test_a_token_that_is_good_no_more_is_replaced(pulls: Pulls, registry: ScriptedRegistry) -> None:
    await pulls.whole(registry, put_image(registry, "token"))
    registry.revoke()
    registry.shown.clear()
    await pulls.whole(registry, put_image(registry, "token-again"))
    assert registry.shown["asked for a token"]


@pytest.mark.parametrize("registry", KNOW_USERS, indirect=True)
async def test_a_wrong_password_is_named(pulls: Pulls, registry: ScriptedRegistry) -> None:
    assert registry.user is not None
    image = put_image(registry, "password")
    registry.password = "another one"
    registry.revoke()
    reply = await pulls.by_tag(registry, image)
    assert reply.status == 403, reply
    assert registry.user[1] not in reply.body.decode()
    assert reason(reply)[0] == "DENIED"


async def test_a_repository_that_is_not_there_is_absent(pulls: Pulls, registry: ScriptedRegistry) -> None:
    reply = await pulls.get(f"{base_path(registry, registry.repository('nowhere'))}/manifests/v1")
    assert (reply.status, reason(reply)[0]) in {(404, "MANIFEST_UNKNOWN"), (404, "NAME_UNKNOWN")}, reply
