"""Nothing is held: the first pull by name, whatever the registry's manners are."""

import json

import pytest

from tests.zoo.manners import Bearer, Ranges
from tests.zoo.pulls import Pulls, base_path, outcome, put_image
from tests.zoo.registry import OCI_INDEX, OCI_MANIFEST, ScriptedRegistry

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_image_is_pulled_and_each_byte_is_fetched_once(pulls: Pulls, registry: ScriptedRegistry) -> None:
    image = put_image(registry, "cold")
    manifest = await pulls.by_tag(registry, image)
    assert (manifest.status, manifest.body) == (200, image.raw), manifest
    assert outcome(manifest) == "fwd=miss; stored"
    assert manifest.headers["docker-content-digest"] == image.digest
    assert manifest.headers["content-type"] == OCI_MANIFEST
    for digest, content in image.blobs.items():
        reply = await pulls.blob(registry, image, digest)
        assert (reply.status, reply.body) == (200, content), reply
        assert outcome(reply) == "fwd=miss; stored"
        assert "content-encoding" not in reply.headers
        assert [seen.sent for seen in registry.transfers(digest)] == [len(content)]
    shows_its_manners(registry)


def shows_its_manners(registry: ScriptedRegistry) -> None:
    """Of those that a cold pull meets."""
    manners, shown = registry.manners, registry.shown
    if isinstance(manners.auth, Bearer):
        assert registry.token_server.requests("token")
    if manners.auth is not None:
        last = registry.asked("manifest")[-1].headers
        assert last["authorization"]
    if manners.storage is not None:
        assert registry.storage is not None
        assert shown["redirected"]
        assert registry.storage.up.ledger
        assert not shown["storage was shown a credential"]
        assert not shown["signature used twice"]
    assert bool(shown["no digest header"]) is not manners.digest_on_get
    assert bool(shown["type not stated"]) is (manners.manifest_type != "exact")


async def test_the_size_of_a_blob_is_known_without_its_bytes(pulls: Pulls, registry: ScriptedRegistry) -> None:
    image = put_image(registry, "sized")
    reply = await pulls.blob(registry, image, image.layer, "HEAD")
    assert (reply.status, reply.headers.get("content-length")) == (200, str(len(image.blobs[image.layer]))), reply
    assert registry.asked("blob")
    assert not registry.shown["storage was asked by HEAD"]


async def test_a_manifest_is_asked_for_by_head(pulls: Pulls, registry: ScriptedRegistry) -> None:
    image = put_image(registry, "headed")
    reply = await pulls.get(f"{base_path(registry, image.name)}/manifests/{image.tag}", "HEAD")
    assert (reply.status, reply.headers["docker-content-digest"]) == (200, image.digest)
    assert reply.headers["content-length"] == str(len(image.raw))


async def test_a_layer_of_one_repository_is_served_to_another_once_the_registry_says_yes(
    pulls: Pulls, registry: ScriptedRegistry
) -> None:
    image, other = put_image(registry, "first"), put_image(registry, "second")
    content = image.blobs[image.layer]
    assert (await pulls.blob(registry, image, image.layer)).body == content
    registry.put_blob(other.name, content)
    asked = len(registry.asked("blob"))
    reply = await pulls.blob(registry, other, image.layer)
    assert (reply.status, reply.body) == (200, content), reply
    assert len(registry.asked("blob")) > asked
    whole = sum(seen.sent == len(content) for seen in registry.transfers(image.layer))
    storage = registry.manners.storage
    ranges = storage.ranges if storage is not None else registry.manners.ranges
    if ranges in {Ranges.SERVED, Ranges.OPEN_END_IGNORED}:
        assert whole == 1
    else:  # to whoever asks for no more than a byte it begins to send everything, which nobody reads
        assert whole <= 2


async def test_referrers_are_its_own_or_none(pulls: Pulls, registry: ScriptedRegistry) -> None:
    image = put_image(registry, "referred")
    reply = await pulls.get(f"{base_path(registry, image.name)}/referrers/{image.digest}")
    if registry.manners.referrers:
        assert (reply.status, reply.headers["content-type"]) == (200, OCI_INDEX), reply
        assert json.loads(reply.body)["manifests"] == []
    else:
        assert registry.shown["no referrers API"]
        assert reply.status == 404  # clients then look for the fallback tag
