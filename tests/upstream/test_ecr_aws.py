"""Real AWS clients against moto, seen through a door that counts and fails."""

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from proxy.core.credentials import Credentials
from proxy.core.ecr_names import EcrHost, parse_ecr_host
from proxy.core.ecr_schedule import LONGEST_LIFE, SHORTEST_LIFE
from proxy.core.egress import Egress
from proxy.core.errors import (
    CredentialsFailed,
    Outage,
    RateLimited,
    UpstreamFailed,
    UpstreamFault,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxy.tasks.jobs import Jobs
from proxy.upstream import ecr_aws
from proxy.upstream.ecr_aws import Aws, client_options
from proxy.upstream.ecr_faults import AwsFault, NoCredentials
from proxy.upstream.ecr_identity import AwsIdentity
from proxy.upstream.ecr_tokens import EcrTokenBook
from proxy.upstream.egress import WaysOut
from tests.cast import ForwardProxy
from tests.cast.authority import Authority
from tests.cast.aws import ACCOUNT, OTHER_ACCOUNT, REGION, AwsDoor, aws_door, moto, password_of
from tests.ports import free_port

ROLE = f"arn:aws:iam::{OTHER_ACCOUNT}:role/pull"
SECRET = "canary-secret-key"


@pytest.fixture(scope="module")
def moto_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with moto(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture
async def door(moto_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[AwsDoor]:
    async with aws_door(moto_url, monkeypatch, tmp_path, SECRET) as door:
        yield door


def at(door: AwsDoor, role_arn: str = "", external_id: str = "", profile: str = "") -> AwsIdentity:
    return AwsIdentity(REGION, role_arn, external_id, profile, door.url)


def password_in(token: str) -> str:
    return base64.b64decode(token).decode().removeprefix("AWS:")


async def test_a_token_from_aws_is_the_basic_credential_of_user_aws(door: AwsDoor) -> None:
    issued = await Aws(at(door)).ecr_token()
    assert base64.b64decode(issued.value) == f"AWS:{password_of()}".encode()


async def test_an_expiry_of_2015_is_not_believed_and_makes_no_loop(jobs: Jobs, door: AwsDoor) -> None:
    book = EcrTokenBook(jobs)
    keeper = book.private(at(door))
    for _ in range(100):
        assert password_in(await keeper.token("ecr")) == password_of()
    assert (keeper.stats.expires_in or 0) > LONGEST_LIFE - 60
    assert door.calls["GetAuthorizationToken"] == 1


async def test_two_hundred_pulls_wait_for_one_call_to_aws(jobs: Jobs, door: AwsDoor) -> None:
    door.gate.clear()
    book = EcrTokenBook(jobs)
    waiters = [asyncio.create_task(book.private(at(door)).token("ecr")) for _ in range(200)]
    while door.calls["GetAuthorizationToken"] == 0:
        await asyncio.sleep(0.01)
    door.gate.set()
    assert len(set(await asyncio.gather(*waiters))) == 1
    assert door.calls["GetAuthorizationToken"] == 1


async def test_the_life_is_measured_by_the_clock_of_aws(door: AwsDoor) -> None:
    door.date = formatdate(1_000_000, usegmt=True)
    door.expires_at = 1_000_000 + 7200
    assert (await Aws(at(door)).ecr_token()).lifetime == 7200
    door.expires_at = 1_000_000 + 1
    assert (await Aws(at(door)).ecr_token()).lifetime == SHORTEST_LIFE
    door.expires_at = 1_000_000 + 10 * LONGEST_LIFE
    assert (await Aws(at(door)).ecr_token()).lifetime == LONGEST_LIFE


async def test_a_role_is_assumed_in_its_own_account(door: AwsDoor) -> None:
    aws = Aws(at(door, role_arn=ROLE, external_id="shared"))
    assert password_in((await aws.ecr_token()).value) == password_of(OTHER_ACCOUNT)
    await aws.ecr_token()
    assert door.calls["AssumeRole"] == 1  # kept and renewed by botocore
    caller = await aws.caller()
    assert caller.arn == f"arn:aws:sts::{OTHER_ACCOUNT}:assumed-role/pull/entrepot"
    assert caller.provider == "assume-role"


async def test_a_profile_is_used_and_told(door: AwsDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").write_text("[team]\naws_access_key_id = x\naws_secret_access_key = y\n")
    aws = Aws(at(door, profile="team"))
    assert (await aws.caller()).provider == "shared-credentials-file"
    assert (await Aws(at(door)).caller()).provider == "env"


async def test_a_missing_profile_is_named(door: AwsDoor) -> None:
    with pytest.raises(AwsFault, match="nobody") as caught:
        await Aws(at(door, profile="nobody")).ecr_token()
    assert issubclass(caught.value.kind, Outage)


async def test_no_credentials_is_said_with_what_to_do(door: AwsDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(NoCredentials, match="no AWS credentials found; attach a role"):
        await Aws(at(door)).ecr_token()
    with pytest.raises(NoCredentials):
        await Aws(at(door, role_arn=ROLE)).ecr_token()
    assert door.calls == {}


async def test_credentials_that_appear_later_are_found(door: AwsDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    aws = Aws(at(door))
    with pytest.raises(AwsFault):
        await aws.ecr_token()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "late")
    assert (await aws.ecr_token()).value


@pytest.mark.parametrize(
    ("failure", "kind", "says"),
    [
        ((400, "ThrottlingException"), RateLimited, "AWS throttles GetAuthorizationToken"),
        ((400, "AccessDeniedException"), CredentialsFailed, "AWS denies GetAuthorizationToken as the credentials of"),
        ((400, "ExpiredTokenException"), UpstreamFailed, "have expired"),
        ((400, "UnrecognizedClientException"), CredentialsFailed, "does not accept the credentials"),
        ((403, "InvalidSignatureException"), UpstreamFailed, "our clock is"),
        ((500, "ServerException"), UpstreamFailed, "ServerException"),
        ((503, "ServiceUnavailable"), UpstreamFailed, "status 503"),
    ],
)
async def test_each_no_of_aws_is_told_by_its_cause(
    door: AwsDoor, failure: tuple[int, str], kind: type[UpstreamFault], says: str
) -> None:
    door.failure = failure
    with pytest.raises(AwsFault, match=says) as caught:
        await Aws(at(door)).ecr_token()
    assert caught.value.kind is kind
    assert door.calls["GetAuthorizationToken"] == 1
    assert SECRET not in str(caught.value)


async def test_a_role_that_may_not_be_assumed_is_named(door: AwsDoor) -> None:
    door.failure = (403, "AccessDenied")
    with pytest.raises(AwsFault, match=f"denies AssumeRole as {ROLE}.*trust policy of {ROLE}") as caught:
        await Aws(at(door, role_arn=ROLE)).ecr_token()
    assert caught.value.kind is CredentialsFailed
    assert door.calls == {"AssumeRole": 1}


@pytest.mark.parametrize(
    ("role", "says"), [("", "GetAuthorizationToken as the credentials"), (ROLE, f"denies AssumeRole as {ROLE}")]
)
async def test_a_user_without_rights_is_told_what_is_denied(
    moto_url: str, door: AwsDoor, monkeypatch: pytest.MonkeyPatch, role: str, says: str
) -> None:
    from aiobotocore.session import AioSession  # type: ignore[import-untyped]

    async with AioSession().create_client("iam", region_name=REGION, endpoint_url=moto_url) as iam:
        user = f"nobody-{len(role)}"
        await iam.create_user(UserName=user)
        key = (await iam.create_access_key(UserName=user))["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    enforce(moto_url, "0")
    try:
        with pytest.raises(AwsFault, match=says) as caught:
            await Aws(at(door, role_arn=role)).ecr_token()
    finally:
        enforce(moto_url, "inf")
    assert caught.value.kind is CredentialsFailed
    assert key["SecretAccessKey"] not in str(caught.value)


def enforce(moto_url: str, calls_before: str) -> None:
    order = urllib.request.Request(
        f"{moto_url}/moto-api/reset-auth", calls_before.encode(), {"Content-Type": "text/plain"}, method="POST"
    )
    urllib.request.urlopen(order, timeout=5).close()


async def test_an_endpoint_that_nobody_listens_on_is_unreachable(door: AwsDoor) -> None:
    identity = AwsIdentity(REGION, endpoint_url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(AwsFault, match=rf"cannot be reached.*com\.amazonaws\.{REGION}\.ecr\.api") as caught:
        await Aws(identity).ecr_token()
    assert caught.value.kind is UpstreamUnreachable


async def test_a_silent_endpoint_is_given_up_in_time(door: AwsDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ecr_aws, "CALL_LIMIT", 0.3)
    door.gate.clear()
    with pytest.raises(AwsFault, match="did not answer get_authorization_token") as caught:
        await Aws(at(door)).ecr_token()
    door.gate.set()
    assert caught.value.kind is UpstreamTimeout


async def test_repositories_are_described_in_the_account_asked_for(door: AwsDoor) -> None:
    with pytest.raises(AwsFault) as caught:
        await Aws(at(door)).describe_repository(ACCOUNT, "team/none")
    assert "RepositoryNotFoundException" in str(caught.value)


@pytest.mark.parametrize(
    ("host", "endpoint"),
    [
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "https://api.ecr.eu-west-1.amazonaws.com"),
        ("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", "ecr-fips.us-east-1.amazonaws.com"),
        ("123456789012.dkr-ecr.us-east-1.on.aws", "https://ecr.us-east-1.api.aws"),
        ("123456789012.dkr-ecr-fips.us-east-1.on.aws", "https://ecr-fips.us-east-1.api.aws"),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "https://api.ecr.cn-north-1.amazonaws.com.cn"),
        ("123456789012.dkr.ecr.us-gov-west-1.amazonaws.com", "https://api.ecr.us-gov-west-1.amazonaws.com"),
        ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu", "https://api.ecr.eusc-de-east-1.amazonaws.eu"),
    ],
)
async def test_the_api_is_of_the_same_kind_as_the_registry(door: AwsDoor, host: str, endpoint: str) -> None:
    from aiobotocore.session import AioSession

    ecr_host = parse_ecr_host(host)
    assert ecr_host is not None
    options = client_options(identity_at(ecr_host), "ecr")
    async with AioSession().create_client("ecr", **options) as client:
        assert client.meta.endpoint_url.endswith(endpoint)  # of the FIPS name two forms are in use


async def test_an_address_of_the_api_goes_before_what_the_host_says(door: AwsDoor) -> None:
    identity = AwsIdentity(REGION, endpoint_url=door.url, fips=True, dual_stack=True)
    assert (await Aws(identity).ecr_token()).value


@pytest.mark.parametrize("role", ["", ROLE])
async def test_every_call_goes_by_the_proxy_of_the_upstream(door: AwsDoor, role: str) -> None:
    async def login() -> Credentials:
        return Credentials("me", "s3:cret@")

    async with ForwardProxy(user=("me", "s3:cret@")) as proxy:
        ways = WaysOut(Egress(proxy.url, ()), {"HTTP_PROXY": "http://127.0.0.1:1"}, login)
        aws = Aws(replace(at(door, role), ways=ways))
        assert (await aws.ecr_token()).value
        assert (await aws.caller()).arn
        assert len(proxy.targets) == door.calls.total() == (3 if role else 2)
        assert {place for place in proxy.targets} == {door.url.removeprefix("http://")}


async def test_the_chain_itself_goes_by_the_proxy(
    door: AwsDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A web identity, as a service account of EKS has it, is exchanged at STS before the first call."""
    token = tmp_path / "token"
    token.write_text("web-identity")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    async with ForwardProxy() as proxy:
        assert (await Aws(replace(at(door), ways=WaysOut(Egress(proxy.url, ())))).ecr_token()).value
        assert door.calls == {"AssumeRoleWithWebIdentity": 1, "GetAuthorizationToken": 1}
        assert len(proxy.targets) == 2


async def test_the_sdk_reads_no_proxy_of_the_environment_past_us(
    door: AwsDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own reading would not know the network in the exceptions."""
    async with ForwardProxy() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert (await Aws(replace(at(door, ROLE), ways=WaysOut(Egress(), os.environ))).ecr_token()).value
        assert proxy.asked == []


async def test_a_proxy_that_is_down_or_refuses_is_an_outage_of_aws(door: AwsDoor) -> None:
    async with ForwardProxy(user=("somebody", "else")) as proxy:
        aws = Aws(replace(at(door), ways=WaysOut(Egress(proxy.url.replace("://", "://me:hunter2@"), ()))))
        for _ in range(2):
            with pytest.raises(AwsFault) as caught:
                await aws.ecr_token()
            assert issubclass(caught.value.kind, Outage)
            assert "hunter2" not in caught.value.why
            await proxy.vanish()
    assert door.calls.total() == 0


async def test_the_authority_of_the_way_is_trusted(
    door: AwsDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of https with a certificate of its own."""
    authority = Authority(tmp_path)
    async with ForwardProxy(tls=authority.server()) as proxy:
        ways = WaysOut(Egress(proxy.url, ()), {}, None, str(authority.ca_file))
        assert (await Aws(replace(at(door), ways=ways)).ecr_token()).value
        assert len(proxy.targets) == 1
        with pytest.raises(AwsFault):
            await Aws(replace(at(door), ways=WaysOut(Egress(proxy.url, ())))).ecr_token()


def identity_at(host: EcrHost) -> AwsIdentity:
    return AwsIdentity(host.region, fips=host.fips, dual_stack=host.dual_stack)


def test_nobody_without_ecr_pays_for_the_aws_library() -> None:
    rooms = "proxy.upstream.ecr_aws, proxy.upstream.ecr_tokens, proxy.core.ecr_names"
    code = f"import sys, json, {rooms}; print(json.dumps([m for m in sys.modules if 'boto' in m]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(done.stdout) == []


async def test_the_lifecycle_policy_of_a_repository_comes_as_it_is_there(door: AwsDoor) -> None:
    aws = Aws(at(door))
    selection = {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 14}
    rule = {"rulePriority": 1, "description": "old", "selection": selection, "action": {"type": "expire"}}
    await aws._call("ecr", "create_repository", registryId=ACCOUNT, repositoryName="team/kept")
    with pytest.raises(AwsFault, match="LifecyclePolicyNotFoundException"):
        await aws.lifecycle_policy(ACCOUNT, "team/kept")
    await aws._call(
        "ecr", "put_lifecycle_policy", repositoryName="team/kept", lifecyclePolicyText=json.dumps({"rules": [rule]})
    )
    assert json.loads(await aws.lifecycle_policy(ACCOUNT, "team/kept")) == {"rules": [rule]}


async def test_push_times_are_those_of_ecr(door: AwsDoor) -> None:
    aws = Aws(at(door))
    await aws._call("ecr", "create_repository", registryId=ACCOUNT, repositoryName="team/pushed")
    kind = "application/vnd.oci.image.manifest.v1+json"
    config = {"digest": f"sha256:{'a' * 64}", "size": 2, "mediaType": "application/vnd.oci.image.config.v1+json"}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []})
    before = time.time()
    await aws._call("ecr", "put_image", repositoryName="team/pushed", imageTag="v1", imageManifest=manifest)
    [(digest, at_time)] = (await aws.push_times(ACCOUNT, "team/pushed")).items()
    assert digest.startswith("sha256:")
    assert before - 2 <= at_time <= time.time()
