import dataclasses
import json
import resource
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.core.errors import BlobUnknown, ManifestUnknown, UpstreamUnreachable
from proxy.core.manifests import OCI_INDEX, OCI_MANIFEST
from proxy.core.names import Digest, Reference
from proxy.core.transfer import Transfer
from proxy.ops import doctor, doctor_host
from proxy.ops.doctor import Examinee, examine
from proxy.ops.doctor_host import Host, host_steps
from proxy.ops.doctor_steps import Step, Verdict, healthy
from proxy.upstream.contract import FetchedManifest, PingResult, ReferrersPage, TagsPage
from proxy.upstream.ecr_aws import Aws
from proxy.upstream.ecr_identity import AwsIdentity
from tests.cast.aws import PublicRegistry, aws_credentials, isolate_from_aws
from tests.ports import free_port

CONFIG = Digest.of(b"{}")
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {"digest": CONFIG}}).encode()
CHILD = Digest.of(MANIFEST)
INDEX = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{"digest": CHILD}]}).encode()


class HeldTransfer:
    origin = "registry.test"
    size: int | None = 2
    offset = 0
    closed = False

    def readinto(self, buffer: memoryview) -> int:
        return 0

    def interrupt(self) -> None: ...

    def close(self) -> None:
        self.closed = True


class SmallRegistry:
    """One index of one image at ``team/app:v1``."""

    name = "registry.test"

    def __init__(self) -> None:
        self.layers_reachable = True
        self.transfer = HeldTransfer()

    async def manifest(self, name: str, reference: Reference) -> FetchedManifest:
        raw, kind = (MANIFEST, OCI_MANIFEST) if reference == CHILD else (INDEX, OCI_INDEX)
        return FetchedManifest(raw, Digest.of(raw), kind)

    async def manifest_digest(self, name: str, reference: Reference) -> Digest:
        if (name, reference) != ("team/app", "v1"):
            raise ManifestUnknown(f"{name}:{reference} is not there")
        return Digest.of(INDEX)

    async def blob(self, name: str, digest: Digest, offset: int = 0, end: int | None = None) -> Transfer:
        if not self.layers_reachable:
            raise UpstreamUnreachable(self.name, "storage did not answer")
        if digest != CONFIG:
            raise BlobUnknown(digest)
        return self.transfer

    async def has_blob(self, name: str, digest: Digest, size: int | None) -> bool:
        raise NotImplementedError

    async def blob_size(self, name: str, digest: Digest) -> int | None:
        raise NotImplementedError

    async def ping(self) -> PingResult:
        raise NotImplementedError

    async def tags(self, name: str, limit: int | None, last: str | None) -> TagsPage:
        raise NotImplementedError

    async def referrers(self, name: str, digest: Digest, query: str) -> ReferrersPage:
        raise NotImplementedError

    async def close(self) -> None: ...


class Handler:
    """Answers ``/v2/`` with what a test sets."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.url = ""

    async def answer(self, _: web.Request) -> web.Response:
        return web.Response(status=self.status, headers=self.headers)


@pytest.fixture
async def handler() -> AsyncIterator[Handler]:
    handler, app = Handler(), web.Application()
    app.router.add_get("/v2/", handler.answer)
    async with TestServer(app) as server:
        handler.url = str(server.make_url(""))
        yield handler


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "not" / "made" / "yet", cache_bytes=1)


def at(handler: Handler, image: str = "team/app:v1") -> Examinee:
    return Examinee("registry.test", handler.url, SmallRegistry(), image)


async def steps_of(upstream: Examinee, host: Host) -> dict[str, Step]:
    return {step.name: step for step in await examine([upstream], host) if step.subject == upstream.name}


async def test_a_healthy_upstream_passes_every_step_that_applies(handler: Handler, host: Host) -> None:
    examinee = at(handler)
    steps = await steps_of(examinee, host)
    assert [step.name for step in steps.values() if step.verdict is Verdict.OK] == [
        "name resolves",
        "connects",
        "/v2/ accepted",
        "clock",
        "manifest",
        "blob",
    ]
    assert {step.name for step in steps.values() if step.verdict is Verdict.SKIPPED} == {
        "TLS",
        "AWS credentials",
        "AWS token",
    }
    assert isinstance(examinee.registry, SmallRegistry)
    assert examinee.registry.transfer.closed
    assert healthy(list(steps.values()))


async def test_a_first_failure_is_the_cause_and_the_rest_is_skipped(host: Host) -> None:
    nobody = Examinee("registry.test", f"http://127.0.0.1:{free_port()}", SmallRegistry(), "team/app:v1")
    steps = await steps_of(nobody, host)
    assert [step.name for step in steps.values() if step.verdict is Verdict.FAILED] == ["connects"]
    assert steps["blob"].verdict is Verdict.SKIPPED
    assert "route" in steps["connects"].fix
    assert not healthy(list(steps.values()))


async def test_a_name_that_does_not_resolve(host: Host) -> None:
    steps = await steps_of(Examinee("x", "https://registry.invalid", SmallRegistry()), host)
    assert steps["name resolves"].verdict is Verdict.FAILED
    assert "DNS" in steps["name resolves"].fix


async def test_plain_http_behind_an_https_url_fails_at_tls(handler: Handler, host: Host) -> None:
    steps = await steps_of(dataclasses.replace(at(handler), url=handler.url.replace("http:", "https:")), host)
    assert steps["connects"].verdict is Verdict.OK
    assert steps["TLS"].verdict is Verdict.FAILED


async def test_a_registry_that_wants_a_token_is_accepted_and_any_other_page_is_not(
    handler: Handler, host: Host
) -> None:
    handler.status, handler.headers = 401, {"WWW-Authenticate": 'Bearer realm="https://x/"'}
    assert (await steps_of(at(handler), host))["/v2/ accepted"].detail == "401, it asks for Bearer"
    handler.status, handler.headers = 404, {}
    assert (await steps_of(at(handler), host))["/v2/ accepted"].verdict is Verdict.FAILED


async def test_a_clock_that_is_off_is_measured(handler: Handler, host: Host) -> None:
    handler.headers = {"Date": formatdate(1_000_000, usegmt=True)}
    clock = (await steps_of(at(handler), host))["clock"]
    assert clock.verdict is Verdict.FAILED
    assert "NTP" in clock.fix


async def test_an_unknown_image_is_told_apart_from_an_unreachable_layer(handler: Handler, host: Host) -> None:
    steps = await steps_of(at(handler, "team/none:v1"), host)
    assert steps["manifest"].verdict is Verdict.FAILED
    assert steps["blob"].verdict is Verdict.SKIPPED
    examinee = at(handler)
    assert isinstance(examinee.registry, SmallRegistry)
    examinee.registry.layers_reachable = False
    steps = await steps_of(examinee, host)
    assert steps["manifest"].verdict is Verdict.OK
    assert steps["blob"].verdict is Verdict.FAILED


async def test_without_an_image_the_rest_is_still_looked_at(handler: Handler, host: Host) -> None:
    steps = await steps_of(at(handler, ""), host)
    assert steps["/v2/ accepted"].verdict is Verdict.OK
    assert steps["manifest"].verdict is steps["blob"].verdict is Verdict.SKIPPED


async def test_missing_aws_credentials_stop_what_needs_them_and_nothing_else(
    handler: Handler, host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    isolate_from_aws(monkeypatch, tmp_path)
    steps = await steps_of(dataclasses.replace(at(handler), aws=Aws(AwsIdentity("us-east-1"))), host)
    assert "no AWS credentials found" in steps["AWS credentials"].detail
    assert steps["connects"].verdict is Verdict.OK
    assert steps["/v2/ accepted"].verdict is Verdict.SKIPPED


async def test_aws_credentials_and_token_are_told_without_secrets(
    host: Host, handler: Handler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    aws_credentials(monkeypatch, tmp_path, "canary-secret-key")
    async with PublicRegistry() as public, SmallSts() as sts_url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts_url)
        aws = Aws(AwsIdentity("us-east-1", endpoint_url=public.url))
        steps = await steps_of(dataclasses.replace(at(handler), aws=aws, public=True), host)
    assert steps["AWS credentials"].detail == "arn:aws:iam::123456789012:user/me, found by provider 'env'"
    assert steps["AWS token"].detail == "good for 12.0 h"
    assert "canary" not in repr(steps)
    assert public.aws_password not in repr(steps)


class SmallSts:
    """Answers GetCallerIdentity."""

    async def __aenter__(self) -> str:
        app = web.Application()
        app.router.add_post("/", self._answer)
        self._server = TestServer(app)
        await self._server.start_server()
        return str(self._server.make_url(""))

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    async def _answer(self, _: web.Request) -> web.Response:
        arn = "arn:aws:iam::123456789012:user/me"
        result = f"<GetCallerIdentityResult><Arn>{arn}</Arn></GetCallerIdentityResult>"
        return web.Response(
            text=f"<GetCallerIdentityResponse>{result}</GetCallerIdentityResponse>", content_type="text/xml"
        )


async def test_a_step_that_takes_too_long_is_given_up(
    handler: Handler, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "STEP_LIMIT", 0.0)
    steps = await steps_of(at(handler), host)
    assert steps["name resolves"].verdict is Verdict.FAILED


def test_a_disk_too_small_for_the_cache_says_what_would_fit(tmp_path: Path) -> None:
    disk, _ = host_steps(Host(tmp_path, cache_bytes=1 << 60))
    assert disk.verdict is Verdict.FAILED
    assert "lower cache.max_size to" in disk.fix


def test_what_the_cache_holds_already_needs_no_free_space(tmp_path: Path) -> None:
    disk, _ = host_steps(Host(tmp_path, cache_bytes=1 << 60, held_bytes=1 << 60))
    assert disk.verdict is Verdict.OK


def test_few_file_descriptors_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(doctor_host, "DESCRIPTORS_NEEDED", soft + 1)
    _, descriptors = host_steps(Host(tmp_path, 1))
    assert descriptors.verdict is Verdict.FAILED
    monkeypatch.setattr(doctor_host, "DESCRIPTORS_NEEDED", soft)
    assert host_steps(Host(tmp_path, 1))[1].verdict is Verdict.OK
