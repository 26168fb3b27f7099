"""Lifecycle rules by ECR's own push times, through the whole proxy; and all pages of what a repository holds."""

import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.config import load
from proxy.core.manifests import OCI_MANIFEST
from proxy.core.names import Digest, Repository
from proxy.registries import Registries
from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs
from proxy.upstream import ecr_aws
from proxy.upstream.ecr_aws import Aws
from proxy.upstream.ecr_identity import AwsIdentity
from tests.cast.aws import ACCOUNT, OTHER_ACCOUNT, REGION, AwsDoor, basic, password_of
from tests.scenarios.ecr.stage import DAY, HOST, App, Clock, Ecr, image, running, upstream_of

SELECTION = {"tagStatus": "any", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 14}
POLICY = {"rules": [{"rulePriority": 1, "selection": SELECTION, "action": {"type": "expire"}}]}
LONG = 20 * DAY  # between push and first pull
PERMISSION = "ecr:DescribeImages"
API = "AmazonEC2ContainerRegistry_V20150921"

Outage = Callable[[AwsDoor], AbstractAsyncContextManager[str]]
"""While it lasts; gives what is said of it."""


def under_policy(folder: Path, ecr: Ecr, aws: str, ahead: Clock, **more: Any) -> AbstractAsyncContextManager[App]:
    """A proxy whose images go when they were pushed fourteen days ago."""
    upstreams = {HOST: upstream_of(ecr.up.url, aws, **more)}
    return running(folder, {"upstreams": upstreams, "lifecycle": [{"repositories": ["*"], "policy": POLICY}]}, ahead)


async def push(moto_url: str, name: str, digest: Digest) -> None:
    """moto has taken the image now, which for the scene is long ago."""
    from aiobotocore.session import AioSession  # type: ignore[import-untyped]

    manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "of": str(digest)})
    async with AioSession().create_client("ecr", region_name=REGION, endpoint_url=moto_url) as api:
        await api.create_repository(repositoryName=name)
        await api.put_image(repositoryName=name, imageTag="v1", imageDigest=str(digest), imageManifest=manifest)


async def pulled(app: App, ecr: Ecr, name: str) -> Digest:
    """An image that was first cached just now."""
    digest, layer = image(ecr.up, name, "v1", name.encode())
    assert (await app.manifest(f"{name}:v1")).status == 200
    assert (await app.get(f"/v2/{HOST}/{name}/blobs/{layer}")).body == name.encode()
    return digest


async def is_held(app: App, ecr: Ecr, name: str, digest: Digest) -> bool:
    """Whether a pull by digest is answered without upstream."""
    before = len(ecr.up.requests("manifest"))
    assert (await app.manifest(f"{name}@{digest}")).status == 200
    return len(ecr.up.requests("manifest")) == before


async def images_expired(app: App, of: int) -> int:
    """How many a lifecycle run lets go, of all that are held."""
    summary = (await app.order("lifecycle/apply"))[-1]["summary"]
    assert (summary["images"], summary["stays"]) == (of, 0)
    return int(summary["expired"])


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What operators are warned of. Nothing worse may have been said."""
    grave = [record for record in caplog.records if record.levelno >= logging.WARNING]
    ours = [record for record in grave if record.name.startswith("entrepot")]
    assert {record.levelname for record in ours} <= {"WARNING"}
    return [record.getMessage() for record in ours]


# ---------------------------------------------------------------- the whole proxy


@pytest.mark.parametrize("push_times", [True, False], ids=["with push_times", "without"])
async def test_an_image_pushed_long_ago_and_cached_today_goes_only_with_push_times(
    ecr: Ecr,
    aws: AwsDoor,
    moto_url: str,
    ahead: Clock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    push_times: bool,
) -> None:
    name = f"team/old-{push_times}".lower()
    ahead.ahead = LONG
    async with under_policy(tmp_path / "app", ecr, aws.url, ahead, push_times=push_times) as app:
        digest = await pulled(app, ecr, name)
        await push(moto_url, name, digest)
        assert await images_expired(app, of=1) == push_times
        assert await is_held(app, ecr, name, digest) is not push_times
        assert warnings(caplog) == []
    assert aws.calls["DescribeImages"] == push_times


async def test_what_ecr_no_longer_has_counts_from_when_it_was_cached_and_the_rest_from_its_push(
    ecr: Ecr, aws: AwsDoor, moto_url: str, ahead: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ahead.ahead = LONG
    async with under_policy(tmp_path / "app", ecr, aws.url, ahead, push_times=True) as app:
        deleted = await pulled(app, ecr, "team/some")
        image(ecr.up, "team/some", "v2", b"still there")
        there = Digest.of((await app.manifest("team/some:v2")).body)
        await push(moto_url, "team/some", there)
        repository_deleted = await pulled(app, ecr, "team/none")
        assert await images_expired(app, of=3) == 1
        assert not await is_held(app, ecr, "team/some", there)
        assert await is_held(app, ecr, "team/some", deleted)
        assert await is_held(app, ecr, "team/none", repository_deleted)
        [warning] = warnings(caplog)
    assert f"{HOST}/team/none" in warning
    assert "RepositoryNotFoundException" in warning
    assert aws.calls["DescribeImages"] == 2


async def test_a_role_that_may_not_describe_images_is_told_once_and_rules_count_from_when_images_were_cached(
    ecr: Ecr, aws: AwsDoor, ahead: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    aws.failure, aws.failing = (400, "AccessDeniedException"), "DescribeImages"
    names = ["team/first", "team/second", "team/third"]
    async with under_policy(tmp_path / "app", ecr, aws.url, ahead, push_times=True) as app:
        digests = {name: await pulled(app, ecr, name) for name in names}
        for _ in range(2):
            assert await images_expired(app, of=3) == 0
        assert aws.calls["DescribeImages"] == 6
        assert [await is_held(app, ecr, *pair) for pair in digests.items()] == [True] * 3
        ahead.ahead = 15 * DAY / 2
        later = await pulled(app, ecr, "team/later")
        ahead.ahead = 15 * DAY
        [warning] = warnings(caplog)
        assert PERMISSION in warning
        assert "AccessDeniedException" in warning
        assert "iam-optional-push-times.json" in warning
        assert await images_expired(app, of=4) == 3
        assert await is_held(app, ecr, "team/later", later)


@asynccontextmanager
async def away(aws: AwsDoor) -> AsyncIterator[str]:
    await aws.go_away()
    yield "cannot be reached"
    await aws.come_back()


@asynccontextmanager
async def silent(aws: AwsDoor) -> AsyncIterator[str]:
    aws.gate.clear()
    with ExitStack() as stack:
        stack.callback(aws.gate.set)
        stack.enter_context(pytest.MonkeyPatch.context()).setattr(ecr_aws, "CALL_LIMIT", 3.0)
        yield "did not answer describe_images"


@asynccontextmanager
async def throttling(aws: AwsDoor) -> AsyncIterator[str]:
    aws.failure, aws.failing = (400, "ThrottlingException"), "DescribeImages"
    yield "AWS throttles DescribeImages"
    aws.failure = None


@pytest.mark.parametrize("outage", [away, silent, throttling])
async def test_an_api_that_is_out_is_asked_once_for_all_repositories_and_again_when_it_may_be_back(
    ecr: Ecr,
    aws: AwsDoor,
    moto_url: str,
    ahead: Clock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    outage: Outage,
) -> None:
    names = [f"team/{outage.__name__}-{number}" for number in range(3)]
    ahead.ahead = LONG
    async with under_policy(tmp_path / "app", ecr, aws.url, ahead, push_times=True) as app:
        digests = {name: await pulled(app, ecr, name) for name in names}
        for name, digest in digests.items():
            await push(moto_url, name, digest)
        async with outage(aws) as says:
            assert await images_expired(app, of=3) == 0
            assert [await is_held(app, ecr, *pair) for pair in digests.items()] == [True] * 3
            [warning] = warnings(caplog)
            assert PERMISSION in warning
            assert says in warning
            assert aws.calls["DescribeImages"] == (outage is not away)
        ahead.ahead += 61
        assert await images_expired(app, of=3) == 3
        assert aws.calls["DescribeImages"] == (outage is not away) + 3


async def test_images_of_an_upstream_that_is_no_longer_configured_do_not_stop_a_run(
    ecr: Ecr, aws: AwsDoor, moto_url: str, ahead: Clock, tmp_path: Path
) -> None:
    ahead.ahead = LONG
    hosts = (f"{OTHER_ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com", HOST)
    upstreams = {host: upstream_of(ecr.up.url, aws.url) for host in hosts}
    async with running(tmp_path / "app", {"upstreams": upstreams}, ahead) as app:
        digest, _ = image(ecr.up, "team/app", "v1", b"layer")
        for host in hosts:
            assert (await app.manifest("team/app:v1", host)).status == 200
    await push(moto_url, "team/app", digest)
    async with under_policy(tmp_path / "app", ecr, aws.url, ahead, push_times=True) as app:
        assert await images_expired(app, of=2) == 1
        assert not await is_held(app, ecr, "team/app", digest)


# ---------------------------------------------------------------- all pages


class Pages:
    """ECR's API for one repository, in pages of three however many are asked for."""

    SIZE = 3

    def __init__(self) -> None:
        self.images: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.throttled_at: int | None = None  # the page, from 0, that is not given
        self.endless = False
        self.region = REGION
        self.url = ""

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post("/", self._answer)
        self._server = TestServer(application)
        await self._server.start_server()
        self.url = str(self._server.make_url(""))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    def add(self, digest: Digest, pushed_at: float) -> None:
        self.images.append({"imageDigest": str(digest), "imagePushedAt": pushed_at})

    def fill(self, count: int) -> None:
        for number in range(len(self.images), count):
            self.add(Digest.of(b"%d" % number), 1_600_000_000.5 + number * 3600)

    @property
    def count(self) -> int:
        return -(-len(self.images) // self.SIZE)

    async def _answer(self, request: web.Request) -> web.Response:
        target = request.headers["X-Amz-Target"]
        assert f"/{self.region}/ecr/aws4_request" in request.headers["Authorization"]
        if target == f"{API}.GetAuthorizationToken":
            token = {"authorizationToken": basic("AWS", password_of()), "expiresAt": time.time() + 12 * 3600}
            return _json({"authorizationData": [token]})
        assert target == f"{API}.DescribeImages"
        self.asked.append(asked := await request.json())
        page = int(str(asked.get("nextToken", "page 0")).removeprefix("page "))
        if page == self.throttled_at:
            return _json({"__type": "ThrottlingException", "message": "Rate exceeded"}, status=400)
        answer: dict[str, Any] = {"imageDetails": self.images[page * self.SIZE : (page + 1) * self.SIZE]}
        if self.endless or page + 1 < self.count:
            answer["nextToken"] = f"page {page + 1}"
        return _json(answer)


def _json(answer: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response(answer, status=status, content_type="application/x-amz-json-1.1")


@pytest.fixture
async def pages(aws: AwsDoor) -> AsyncIterator[Pages]:
    """Ten pages of images pushed an hour apart, the first long ago."""
    async with Pages() as pages:
        pages.fill(30)
        yield pages


def times(pages: Pages) -> Awaitable[dict[str, float]]:
    return Aws(AwsIdentity(REGION, endpoint_url=pages.url)).push_times(ACCOUNT, "team/app")


async def test_the_push_times_of_250_images_come_in_84_pages(pages: Pages) -> None:
    pages.fill(250)
    assert await times(pages) == {each["imageDigest"]: each["imagePushedAt"] for each in pages.images}
    first, *following = pages.asked
    assert first == {"registryId": ACCOUNT, "repositoryName": "team/app", "maxResults": 1000}
    assert following == [first | {"nextToken": f"page {number}"} for number in range(1, 84)]


async def test_a_repository_without_images_has_no_push_times(pages: Pages) -> None:
    pages.images.clear()
    assert await times(pages) == {}
    assert len(pages.asked) == 1


async def test_pages_without_end_are_given_up(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ecr_aws, "_IMAGE_PAGES", 15)
    pages.endless = True
    assert len(await times(pages)) == 30
    assert len(pages.asked) == 15


async def test_a_repository_counts_by_one_clock_when_only_some_of_its_pages_come(
    pages: Pages, ecr: Ecr, ahead: Clock, tmp_path: Path
) -> None:
    async with under_policy(tmp_path / "app", ecr, pages.url, ahead, push_times=True) as app:
        digest = await pulled(app, ecr, "team/app")
        pages.images.insert(0, {"imageDigest": str(digest), "imagePushedAt": time.time() - LONG})
        pages.throttled_at = 5
        assert await images_expired(app, of=1) == 0
        assert len(pages.asked) == 6
        pages.throttled_at = None
        ahead.ahead = 61
        assert await images_expired(app, of=1) == 1
        assert len(pages.asked) == 6 + pages.count


async def test_an_image_on_the_last_page_goes_by_its_push_time(
    pages: Pages, ecr: Ecr, ahead: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with under_policy(tmp_path / "app", ecr, pages.url, ahead, push_times=True) as app:
        digest = await pulled(app, ecr, "team/app")
        pages.add(digest, time.time() - LONG)
        assert await images_expired(app, of=1) == 1
        assert not await is_held(app, ecr, "team/app", digest)
        assert warnings(caplog) == []
    assert len(pages.asked) == pages.count


async def test_an_ecr_registry_under_a_name_of_ones_own_tells_its_push_times_too(pages: Pages, tmp_path: Path) -> None:
    pages.region = "eu-west-1"
    upstream = {
        "url": f"https://{ACCOUNT}.dkr.ecr.{pages.region}.amazonaws.com",
        "auth": {"type": "ecr", "endpoint_url": pages.url},
        "push_times": True,
    }
    config = tmp_path / "entrepot.yaml"
    config.write_text(yaml.safe_dump({"cache": {"path": str(tmp_path)}, "upstreams": {"images.test": upstream}}))
    async with task_group() as tasks:
        registries = Registries(load(config, {}).settings, Jobs(tasks))
        assert len(await registries.amazon.push_times(Repository("images.test", "team/app"))) == 30
        assert pages.asked[0]["registryId"] == ACCOUNT
        await registries.close()
