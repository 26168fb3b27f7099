"""The whole proxy before an ECR of parts that nobody here wrote: docker-registry with its layers on moto's S3."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.core.names import Digest
from tests.cast.aws import AwsDoor, Place, PrivateRegistry, make_bucket
from tests.scenarios.ecr.stage import HOST, App, Clock, running, upstream_of
from tests.upstream.test_ecr_registry import needs_registry, push

pytestmark = needs_registry

CLIENTS = 200
IMAGES = 20


@pytest.fixture
def place(moto_url: str, tmp_path: Path) -> Place:
    make_bucket(moto_url, bucket := f"layers-{abs(hash(tmp_path))}")
    return Place(moto_url, PrivateRegistry(tmp_path, moto_url, bucket))


@pytest.fixture
async def rig(place: Place, aws: AwsDoor, ahead: Clock, tmp_path: Path) -> AsyncIterator[App]:
    upstreams = {HOST: upstream_of(place.registry.url, aws.url)}
    with place.registry.running():
        async with running(tmp_path / "app", {"upstreams": upstreams}, ahead) as app:
            yield app


async def test_a_password_changed_under_two_hundred_cold_pulls_costs_one_call_to_aws(
    rig: App, place: Place, aws: AwsDoor
) -> None:
    manifests = [await push(place, "team/app", f"v{number}", b"layer %d" % number) for number in range(IMAGES)]
    layers = [json.loads(raw)["layers"][0]["digest"] for raw in manifests]
    await push(place, "team/first", "v1", b"first")
    assert (await rig.manifest("team/first:v1")).status == 200
    assert aws.calls["GetAuthorizationToken"] == 1
    aws.password = "another"
    place.registry.accept("another")
    aws.gate.clear()
    paths = [f"/v2/{HOST}/team/app/manifests/{Digest.of(raw)}" for raw in manifests]
    paths += [f"/v2/{HOST}/team/app/blobs/{layer}" for layer in layers]
    pulls = [asyncio.create_task(rig.get(path)) for path in paths * (CLIENTS // len(paths))]
    while aws.calls["GetAuthorizationToken"] == 1:
        await asyncio.sleep(0.01)
    aws.gate.set()
    replies = await asyncio.gather(*pulls)
    assert {reply.status for reply in replies} == {200}
    assert len(replies) == CLIENTS
    assert aws.calls["GetAuthorizationToken"] == 2
