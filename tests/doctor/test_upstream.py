"""The doctor before one upstream, which it asks as pulls do."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.core.credentials import Credentials
from proxy.core.egress import Egress
from proxy.core.errors import CredentialsFailed
from proxy.core.manifests import OCI_INDEX, OCI_MANIFEST
from proxy.doctor.advice import SignIn
from proxy.doctor.steps import Step, Verdict, healthy
from proxy.doctor.upstream import Examinee, examine_upstreams
from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs
from proxy.upstream.authorization import CredentialSource, no_credentials
from proxy.upstream.ecr_aws import Aws
from proxy.upstream.ecr_identity import AwsIdentity
from proxy.upstream.egress import WaysOut
from proxy.upstream.network import Network
from proxy.upstream.passage import Outward
from proxy.upstream.registry import HttpRegistry
from proxy.upstream.schemes import ChallengeAuthorizer
from proxy.upstream.settings import ExchangeLimits, RegistrySettings
from tests.cast import FaultUpstream, ForwardProxy, roles
from tests.cast.aws import PublicRegistry, isolate_from_aws
from tests.cast.guard import Guard
from tests.ports import free_port

NAME = "registry.test"
CONFIG = b"{}"


@pytest.fixture
async def upstream() -> AsyncIterator[FaultUpstream]:
    """Holds an index of one image at ``team/app:v1``."""
    async with FaultUpstream() as up:
        up.page("/v2/", b"{}", {"Date": formatdate(usegmt=True)})
        config = up.blob("team/app", CONFIG)
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {"digest": config, "size": len(CONFIG)}}
        child = up.manifest("team/app", None, json.dumps(manifest).encode())
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{"digest": child, "size": 1}]}
        up.manifest("team/app", "v1", json.dumps(index).encode(), OCI_INDEX)
        yield up


Making = Callable[[Jobs], Examinee]


def registry_at(url: str, jobs: Jobs, credentials: CredentialSource = no_credentials) -> HttpRegistry:
    network = Network(RegistrySettings(NAME, url, limits=ExchangeLimits(tries=1)), jobs)
    return HttpRegistry(network, ChallengeAuthorizer(network, credentials))


def at(up: FaultUpstream | str, *images: str, credentials: CredentialSource = no_credentials, **more: Any) -> Making:
    url = up if isinstance(up, str) else up.url
    return lambda jobs: Examinee(NAME, url, registry_at(url, jobs, credentials), images, **more)


def as_user(user: str, password: str) -> CredentialSource:
    async def credentials(name: str) -> Credentials:
        return Credentials(user, password)

    return credentials


async def all_steps(make: Making, limit: float = 30.0) -> list[Step]:
    async with task_group() as group, AsyncExitStack() as stack:
        examinee = make(Jobs(group))
        stack.push_async_callback(examinee.registry.close)
        return await examine_upstreams([examinee], limit)


async def steps_of(make: Making) -> dict[str, Step]:
    return {step.name: step for step in await all_steps(make)}


async def test_a_healthy_upstream_passes_every_step_that_applies(upstream: FaultUpstream) -> None:
    steps = await steps_of(at(upstream, "team/app:v1"))
    assert [step.name for step in steps.values() if step.verdict is Verdict.OK] == [
        "way out",
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
        "signs in",
    }
    assert healthy(list(steps.values()))


async def test_a_first_failure_is_the_cause_and_the_rest_is_skipped() -> None:
    steps = await steps_of(at(f"http://127.0.0.1:{free_port()}", "team/app:v1"))
    assert [step.name for step in steps.values() if step.verdict is Verdict.FAILED] == ["connects"]
    assert steps["blob"].verdict is Verdict.SKIPPED
    assert "route" in steps["connects"].fix
    assert not healthy(list(steps.values()))


async def test_a_name_that_does_not_resolve() -> None:
    steps = await steps_of(at("https://registry.invalid"))
    assert steps["name resolves"].verdict is Verdict.FAILED
    assert "DNS" in steps["name resolves"].fix


async def test_plain_http_behind_an_https_url_fails_at_tls() -> None:
    async with TestServer(web.Application()) as plain:
        steps = await steps_of(at(f"https://127.0.0.1:{plain.port}"))
    assert steps["connects"].verdict is Verdict.OK
    assert steps["TLS"].verdict is Verdict.FAILED
    assert "https port" in steps["TLS"].fix


async def test_any_other_page_is_no_registry(upstream: FaultUpstream) -> None:
    upstream.page("/v2/", b"nothing here", status=404)
    assert (await steps_of(at(upstream)))["/v2/ accepted"].verdict is Verdict.FAILED


async def test_signing_in_is_really_tried(upstream: FaultUpstream) -> None:
    upstream.guard(Guard(user=("me", "right")))
    good = await steps_of(at(upstream, "team/app:v1", credentials=as_user("me", "right"), sign_in=SignIn.BASIC))
    assert good["/v2/ accepted"].detail == "401, it asks for Bearer"
    assert good["signs in"].verdict is good["blob"].verdict is Verdict.OK
    bad = await steps_of(at(upstream, "team/app:v1", credentials=as_user("me", "wrong"), sign_in=SignIn.BASIC))
    assert [step.name for step in bad.values() if step.verdict is Verdict.FAILED] == ["signs in"]
    assert "'me'" in bad["signs in"].detail
    assert "wrong" not in bad["signs in"].detail
    assert "password_file" in bad["signs in"].fix
    assert bad["manifest"].verdict is Verdict.SKIPPED


@pytest.mark.parametrize(
    ("sign_in", "refused", "unread"),
    [
        (SignIn.BASIC, "check username and password_file", "make the file readable"),
        (
            SignIn.DOCKER_CONFIG,
            "log in anew with docker login",
            "a credential helper that it names has to be installed",
        ),
    ],
)
async def test_advice_is_for_how_an_upstream_is_signed_in_to(
    upstream: FaultUpstream, sign_in: SignIn, refused: str, unread: str
) -> None:
    async def gone(name: str) -> Credentials:
        raise CredentialsFailed(NAME, "its credentials cannot be read")

    upstream.guard(Guard(user=("me", "right")))
    wrong = await steps_of(at(upstream, credentials=as_user("me", "wrong"), sign_in=sign_in))
    lost = await steps_of(at(upstream, credentials=gone, sign_in=sign_in))
    assert refused in wrong["signs in"].fix
    assert unread in lost["signs in"].fix


async def test_a_wrong_password_for_basic_is_seen(upstream: FaultUpstream) -> None:
    upstream.always("/v2/", roles.answers(401, b"", {"WWW-Authenticate": 'Basic realm="here"'}))
    steps = await steps_of(at(upstream, credentials=as_user("me", "wrong"), sign_in=SignIn.BASIC))
    assert steps["signs in"].verdict is Verdict.FAILED


async def test_without_credentials_a_locked_registry_is_no_failure_but_its_image_is(upstream: FaultUpstream) -> None:
    upstream.guard(Guard(user=("me", "right")))
    steps = await steps_of(at(upstream, "team/app:v1"))
    assert steps["signs in"].verdict is Verdict.SKIPPED
    assert steps["manifest"].verdict is Verdict.FAILED
    assert "without credentials" in steps["manifest"].fix


async def test_a_clock_that_is_off_is_measured(upstream: FaultUpstream) -> None:
    upstream.page("/v2/", b"{}", {"Date": formatdate(1_000_000, usegmt=True)})
    clock = (await steps_of(at(upstream)))["clock"]
    assert clock.verdict is Verdict.FAILED
    assert "NTP" in clock.fix


async def test_an_unknown_image_is_told_apart_from_an_unreachable_layer(upstream: FaultUpstream) -> None:
    steps = await steps_of(at(upstream, "team/none:v1"))
    assert steps["manifest"].verdict is Verdict.FAILED
    assert steps["blob"].verdict is Verdict.SKIPPED
    upstream.always("blob", roles.closes_unanswered)
    steps = await steps_of(at(upstream, "team/app:v1"))
    assert steps["manifest"].verdict is Verdict.OK
    assert steps["blob"].verdict is Verdict.FAILED


async def test_every_image_is_asked_for_whatever_becomes_of_the_others(upstream: FaultUpstream) -> None:
    steps = await all_steps(at(upstream, "team/none:v1", "team/app:v1"))
    asked = [(step.name, step.verdict) for step in steps if step.name in ("manifest", "blob")]
    assert asked == [
        ("manifest", Verdict.FAILED),
        ("blob", Verdict.SKIPPED),
        ("manifest", Verdict.OK),
        ("blob", Verdict.OK),
    ]


async def test_without_an_image_the_rest_is_still_looked_at(upstream: FaultUpstream) -> None:
    steps = await steps_of(at(upstream))
    assert steps["/v2/ accepted"].verdict is Verdict.OK
    assert steps["manifest"].verdict is steps["blob"].verdict is Verdict.SKIPPED


async def test_missing_aws_credentials_stop_what_needs_them_and_nothing_else(
    upstream: FaultUpstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    isolate_from_aws(monkeypatch, tmp_path)
    steps = await steps_of(at(upstream, sign_in=SignIn.ECR, aws=Aws(AwsIdentity("us-east-1"))))
    assert "no AWS credentials found" in steps["AWS credentials"].detail
    assert steps["connects"].verdict is Verdict.OK
    assert steps["/v2/ accepted"].verdict is Verdict.OK
    assert steps["signs in"].verdict is Verdict.SKIPPED


async def test_aws_credentials_and_token_are_told_without_secrets(
    upstream: FaultUpstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    isolate_from_aws(monkeypatch, tmp_path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret-key")
    async with PublicRegistry() as public, SmallSts() as sts_url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts_url)
        aws = Aws(AwsIdentity("us-east-1", endpoint_url=public.url))
        steps = await steps_of(at(upstream, sign_in=SignIn.ECR_PUBLIC, aws=aws))
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


async def test_a_step_that_takes_too_long_is_given_up(upstream: FaultUpstream) -> None:
    steps = {step.name: step for step in await all_steps(at(upstream), limit=0.0)}
    assert steps["name resolves"].verdict is Verdict.FAILED


@pytest.mark.parametrize("up_and_well", [True, False])
async def test_the_way_out_is_told_and_looked_at(upstream: FaultUpstream, up_and_well: bool) -> None:
    async with ForwardProxy() as proxy:
        proxy.places["registry.test:80"] = upstream.port
        ways = WaysOut(Egress(proxy.url, ()))
        if not up_and_well:
            await proxy.vanish()

        def make(jobs: Jobs) -> Examinee:
            url = f"http://{NAME}"
            network = Network(
                RegistrySettings(NAME, url, limits=ExchangeLimits(tries=1)), jobs, outward=Outward(ways=ways)
            )
            return Examinee(NAME, url, HttpRegistry(network, ChallengeAuthorizer(network)), ("team/app:v1",), ways=ways)

        steps = await steps_of(make)
        assert steps["way out"].detail == f"through the proxy {proxy.url}"
        failed = [step.name for step in steps.values() if step.verdict is Verdict.FAILED]
        assert failed == ([] if up_and_well else ["connects"])
        assert steps["blob"].verdict is (Verdict.OK if up_and_well else Verdict.SKIPPED)
        if not up_and_well:
            assert "address of the proxy" in steps["connects"].fix


async def test_a_way_that_is_none_is_the_first_failure() -> None:
    ways = WaysOut(Egress(), {"HTTPS_PROXY": "socks5://me:hunter2@proxy.test"})
    steps = await steps_of(at(f"https://{NAME}", ways=ways))
    assert [step.name for step in steps.values() if step.verdict is Verdict.FAILED] == ["way out"]
    assert "HTTPS_PROXY" in steps["way out"].detail
    assert "hunter2" not in str(steps)
