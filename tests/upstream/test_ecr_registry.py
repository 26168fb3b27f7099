"""ECR's registry as moto, docker-registry and S3 play it, asked as the authorizers say."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
from yarl import URL

from proxy.core.credentials import Credentials
from proxy.core.errors import BlobUnknown, UpstreamUnreachable
from proxy.core.manifests import OCI_MANIFEST
from proxy.core.names import Digest, Tag
from proxy.core.transfer import Transfer
from proxy.tasks.jobs import Jobs
from proxy.upstream.authorization import Refusal
from proxy.upstream.challenge import parse_challenges
from proxy.upstream.ecr_authorization import (
    PUBLIC_LIFE,
    EcrAuthorizer,
    EcrPublicAuthorizer,
    ecr_public_credentials,
)
from proxy.upstream.ecr_identity import AwsIdentity
from proxy.upstream.ecr_tokens import EcrTokenBook
from proxy.upstream.network import Network
from proxy.upstream.registry import HttpRegistry
from proxy.upstream.settings import RegistrySettings, Timing
from proxy.upstream.token_server import TokenServer
from tests.cast.aws import (
    OTHER_ACCOUNT,
    REGION,
    AwsDoor,
    Place,
    PublicRegistry,
    aws_door,
    basic,
    isolate_from_aws,
    password_of,
    private_ecr,
)
from tests.cast.registry import DOCKER_REGISTRY

UPSTREAM = f"123456789012.dkr.ecr.{REGION}.amazonaws.com"

needs_registry = pytest.mark.skipif(DOCKER_REGISTRY is None, reason="needs Debian's docker-registry")


class SettableClock:
    """The true clock, ahead by as much as a test says."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with private_ecr(tmp_path_factory.mktemp("ecr")) as place:
        yield place


@pytest.fixture
async def door(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[AwsDoor]:
    place.registry.accept(password_of())
    async with aws_door(place.moto_url, monkeypatch, tmp_path) as door:
        yield door


async def refusal_of(answer: aiohttp.ClientResponse) -> Refusal:
    return Refusal(answer.status, parse_challenges(answer.headers.getall("WWW-Authenticate", [])), None)


async def ask(session: aiohttp.ClientSession, place: Place, authorizer: EcrAuthorizer) -> list[int]:
    """The statuses of one request and, after a refusal that may be turned, of its repetition."""
    statuses: list[int] = []
    while len(statuses) < 2:
        used = await authorizer.authorization("team/app")
        async with session.get(f"{place.registry.url}/v2/", headers={"Authorization": used or ""}) as answer:
            statuses.append(answer.status)
            if answer.status == 200 or not await authorizer.renew("team/app", await refusal_of(answer), used):
                break
    return statuses


@needs_registry
async def test_the_token_of_aws_opens_the_registry(jobs: Jobs, place: Place, door: AwsDoor) -> None:
    book = EcrTokenBook(jobs)
    authorizer = EcrAuthorizer(UPSTREAM, book.private(AwsIdentity(REGION, endpoint_url=door.url)))
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{place.registry.url}/v2/") as answer:
            assert answer.status == 401
            assert (await refusal_of(answer)).challenges[0].scheme == "basic"
        assert await ask(session, place, authorizer) == [200]


@needs_registry
async def test_a_whole_image_is_pulled_with_the_token_of_aws(jobs: Jobs, place: Place, door: AwsDoor) -> None:
    layer = bytes(range(256)) * 4096
    manifest = await push(place, "team/whole", "v1", layer)
    book = EcrTokenBook(jobs)
    authorizer = EcrAuthorizer(UPSTREAM, book.private(AwsIdentity(REGION, endpoint_url=door.url)))
    registry = HttpRegistry(Network(RegistrySettings(UPSTREAM, place.registry.url), jobs), authorizer)
    assert (await registry.manifest_digest("team/whole", Tag("v1"))).digest == Digest.of(manifest)
    assert (await registry.manifest("team/whole", Tag("v1"))).raw == manifest
    await registry.check_blob("team/whole", Digest.of(layer), len(layer))
    with pytest.raises(BlobUnknown):
        await registry.check_blob("team/whole", Digest.of(b"something else"), 14)
    transfer = await registry.blob("team/whole", Digest.of(layer), offset=1000)
    assert (transfer.size, transfer.offset) == (len(layer), 1000)
    assert await asyncio.to_thread(read_all, transfer) == layer[1000:]
    await registry.close()
    assert door.calls["GetAuthorizationToken"] == 1


def read_all(transfer: Transfer) -> bytes:
    found, buffer = bytearray(), memoryview(bytearray(64 * 1024))
    while count := transfer.readinto(buffer):
        found += buffer[:count]
    transfer.close()
    return bytes(found)


async def push(place: Place, name: str, tag: str, layer: bytes) -> bytes:
    """An image of one layer; gives its manifest."""
    ours = {"Authorization": f"Basic {basic('AWS', password_of())}"}
    config = b"{}"
    descriptors = [
        {"mediaType": "application/x", "digest": Digest.of(each), "size": len(each)} for each in (config, layer)
    ]
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptors[0], "layers": descriptors[1:]}
    manifest = json.dumps(document).encode()
    at = f"{place.registry.url}/v2/{name}"
    async with aiohttp.ClientSession(headers=ours) as session:
        for blob in (config, layer):
            async with session.post(f"{at}/blobs/uploads/") as begun:
                upload = URL(begun.headers["Location"]).update_query(digest=Digest.of(blob))
            async with session.put(upload, data=blob) as done:
                assert done.status == 201
        kind = {"Content-Type": OCI_MANIFEST}
        async with session.put(f"{at}/manifests/{tag}", data=manifest, headers=kind) as done:
            assert done.status == 201
    return manifest


@needs_registry
async def test_a_layer_is_redirected_to_storage_that_takes_no_credentials(place: Place, door: AwsDoor) -> None:
    content = b"a layer"
    digest = Digest.of(content)
    await push(place, "team/app", "v1", content)
    ours = {"Authorization": f"Basic {basic('AWS', password_of())}"}
    async with aiohttp.ClientSession() as session:
        blob = f"{place.registry.url}/v2/team/app/blobs/{digest}"
        async with session.get(blob, headers=ours, allow_redirects=False) as answer:
            assert answer.status == 307
            location = URL(answer.headers["Location"], encoded=True)
        assert location.port == URL(place.moto_url).port
        assert "X-Amz-Signature" in location.query
        async with session.get(location) as stored:
            assert await stored.read() == content


@needs_registry
async def test_a_password_changed_under_way_costs_exactly_one_renewal(jobs: Jobs, place: Place, door: AwsDoor) -> None:
    clock = SettableClock()
    book = EcrTokenBook(jobs, Timing(now=clock.now))
    authorizer = EcrAuthorizer(UPSTREAM, book.private(AwsIdentity(REGION, endpoint_url=door.url)))
    async with aiohttp.ClientSession() as session:
        assert await ask(session, place, authorizer) == [200]
        door.password = "another"
        place.registry.accept("another")
        clock.ahead = 61
        assert await ask(session, place, authorizer) == [401, 200]
        assert await ask(session, place, authorizer) == [200]
    assert door.calls["GetAuthorizationToken"] == 2


@needs_registry
async def test_a_password_that_stays_wrong_is_a_refusal_and_no_loop(jobs: Jobs, place: Place, door: AwsDoor) -> None:
    clock = SettableClock()
    book = EcrTokenBook(jobs, Timing(now=clock.now))
    authorizer = EcrAuthorizer(UPSTREAM, book.private(AwsIdentity(REGION, endpoint_url=door.url)))
    place.registry.accept("nobody-knows")
    async with aiohttp.ClientSession() as session:
        for _ in range(20):
            assert await ask(session, place, authorizer) == [401]
    assert door.calls["GetAuthorizationToken"] == 2


@needs_registry
async def test_a_refused_token_while_aws_is_down_is_an_outage_with_its_cause(
    jobs: Jobs, place: Place, door: AwsDoor
) -> None:
    clock = SettableClock()
    book = EcrTokenBook(jobs, Timing(now=clock.now))
    identity = AwsIdentity(REGION, endpoint_url=door.url)
    authorizer = EcrAuthorizer(UPSTREAM, book.private(identity))
    async with aiohttp.ClientSession() as session:
        assert await ask(session, place, authorizer) == [200]
        place.registry.accept("another")
        clock.ahead = 61
        await door.__aexit__()
        with pytest.raises(UpstreamUnreachable, match=f"{UPSTREAM}: AWS cannot be reached"):
            await ask(session, place, authorizer)


@needs_registry
async def test_a_role_opens_the_registry_of_its_account(jobs: Jobs, place: Place, door: AwsDoor) -> None:
    place.registry.accept(password_of(OTHER_ACCOUNT))
    role = AwsIdentity(REGION, f"arn:aws:iam::{OTHER_ACCOUNT}:role/pull", endpoint_url=door.url)
    book = EcrTokenBook(jobs)
    async with aiohttp.ClientSession() as session:
        assert await ask(session, place, EcrAuthorizer(UPSTREAM, book.private(role))) == [200]


async def test_a_forbidden_repository_costs_one_call_a_minute_at_most(jobs: Jobs, door: AwsDoor) -> None:
    clock = SettableClock()
    book = EcrTokenBook(jobs, Timing(now=clock.now))
    authorizer = EcrAuthorizer(UPSTREAM, book.private(AwsIdentity(REGION, endpoint_url=door.url)))
    forbidden = Refusal(403, (), "DENIED")
    used = await authorizer.authorization("team/secret")
    clock.ahead = 61
    for _ in range(10):
        assert not await authorizer.renew("team/secret", forbidden, used)
        assert await authorizer.authorization("team/secret") == used
    assert door.calls["GetAuthorizationToken"] == 2


@pytest.fixture
async def public(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[PublicRegistry]:
    isolate_from_aws(monkeypatch, tmp_path)
    async with PublicRegistry() as public:
        yield public


async def test_ecr_public_is_asked_in_its_own_region_for_aws_credentials(
    jobs: Jobs, public: PublicRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    book = EcrTokenBook(jobs)
    source = ecr_public_credentials("public.ecr.aws", book.public(AwsIdentity("eu-west-1", endpoint_url=public.url)))
    for _ in range(5):
        found = await source("")
        assert found == Credentials("AWS", public.aws_password)
    assert public.calls["api"] == 1


async def test_ecr_public_is_anonymous_without_aws_credentials(jobs: Jobs, public: PublicRegistry) -> None:
    book = EcrTokenBook(jobs)
    source = ecr_public_credentials("public.ecr.aws", book.public(AwsIdentity(REGION, endpoint_url=public.url)))
    assert await source("") is None
    assert await source("") is None
    assert public.calls["api"] == 0


async def test_ecr_public_is_anonymous_while_aws_says_no(
    jobs: Jobs, public: PublicRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    public.aws_failure = (400, "AccessDeniedException")
    book = EcrTokenBook(jobs)
    source = ecr_public_credentials("public.ecr.aws", book.public(AwsIdentity(REGION, endpoint_url=public.url)))
    assert await source("") is None
    assert public.calls["api"] == 1


class PublicPull(NamedTuple):
    """An upstream of ECR Public's kind and the clock it lives by."""

    public: PublicRegistry
    authorizer: EcrPublicAuthorizer
    clock: SettableClock

    async def statuses(self) -> list[int]:
        """Of one request and, after a refusal that may be turned, of its repetition; the last must be answered."""
        found: list[int] = []
        url = f"{self.public.url}/v2/docker/library/alpine/manifests/3"
        async with aiohttp.ClientSession() as session:
            while len(found) < 2:
                used = await self.authorizer.authorization("docker/library/alpine")
                async with session.get(url, headers={"Authorization": used or ""}) as answer:
                    found.append(answer.status)
                    body = await answer.json()
                    code = body["errors"][0]["code"] if "errors" in body else None
                    refusal = (await refusal_of(answer))._replace(code=code)
                if answer.status == 200 or not await self.authorizer.renew("docker/library/alpine", refusal, used):
                    break
        return found


@pytest.fixture
async def public_pull(jobs: Jobs, public: PublicRegistry, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PublicPull]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    clock, book = SettableClock(), EcrTokenBook(jobs)
    source = ecr_public_credentials("public.ecr.aws", book.public(AwsIdentity(REGION, endpoint_url=public.url)))
    network = Network(RegistrySettings("public.ecr.aws", public.url), jobs, Timing(now=clock.now))
    authorizer = EcrPublicAuthorizer(public.url, source, TokenServer(network).fetch, network)
    yield PublicPull(public, authorizer, clock)
    await network.close()


async def test_ecr_public_takes_a_bearer_that_aws_stands_behind(public_pull: PublicPull) -> None:
    assert await public_pull.statuses() == [200]
    assert list(public_pull.public.bearers.values()) == [True]
    assert public_pull.public.calls["api"] == 1


async def test_a_bearer_without_a_stated_life_serves_half_an_hour(public_pull: PublicPull) -> None:
    assert await public_pull.statuses() == [200]
    public_pull.clock.ahead = PUBLIC_LIFE / 2 - 5
    assert await public_pull.statuses() == [200]
    assert public_pull.public.calls["token"] == 1


async def test_a_bearer_that_ecr_public_denies_is_replaced_once(public_pull: PublicPull) -> None:
    assert await public_pull.statuses() == [200]
    public_pull.public.forget_bearers()
    public_pull.clock.ahead = 61
    assert await public_pull.statuses() == [400, 200]
    assert public_pull.public.calls["token"] == 2


async def test_a_refusal_that_stays_makes_no_loop_of_token_requests(public_pull: PublicPull) -> None:
    assert await public_pull.statuses() == [200]
    public_pull.public.forget_bearers()
    assert await public_pull.statuses() == [400, 200]
    public_pull.public.forget_bearers()
    for _ in range(10):
        assert await public_pull.statuses() == [400]
    assert public_pull.public.calls["token"] == 2


async def test_ecr_public_refuses_what_it_refuses(public: PublicRegistry) -> None:
    async with aiohttp.ClientSession() as session:
        blob = f"{public.url}/v2/x/y/blobs/sha256:0"
        async with session.get(f"{public.url}/v2/") as answer:
            challenge = (await refusal_of(answer)).challenges[0]
            assert (answer.status, challenge.scheme, challenge.scope) == (401, "bearer", "aws")
        async with session.get(blob, headers={"Authorization": f"Basic {basic('AWS', 'x')}"}) as answer:
            assert answer.status == 400
        async with session.head(blob, headers={"Authorization": "Bearer x"}) as answer:
            assert answer.status == 401
