"""``entrepot doctor`` as users run it, before an ECR of moto and docker-registry."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.cast import FaultUpstream
from tests.cast.authority import Authority
from tests.cast.aws import REGION, AwsDoor, Place, aws_door, password_of, private_ecr
from tests.ports import free_port
from tests.process import PROXY
from tests.upstream.test_ecr_registry import needs_registry, push

HOST = f"123456789012.dkr.ecr.{REGION}.amazonaws.com"
ROLE = "arn:aws:iam::222222222222:role/pull"
SECRET = "canary-secret-key"
LAYER = b"a layer"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with private_ecr(tmp_path_factory.mktemp("ecr")) as place:
        asyncio.run(push(place, "team/app", "v1", LAYER))
        yield place


@pytest.fixture
async def aws(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[AwsDoor]:
    place.registry.accept(password_of())
    async with aws_door(place.moto_url, monkeypatch, tmp_path, SECRET) as door:
        yield door


class Examined(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def steps(self) -> dict[str, dict[str, str]]:
        """Of the upstream, by name."""
        return {step["name"]: step for step in json.loads(self.out) if step["subject"] not in ("host", "proxy")}

    @property
    def failed(self) -> list[str]:
        return [name for name, step in self.steps.items() if step["verdict"] == "failed"]


class Office:
    """Where a person asks the doctor."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def __call__(self, upstreams: dict[str, Any], *arguments: str, columns: int = 80) -> Examined:
        config = self._folder / "entrepot.yaml"
        cache = {"path": str(self._folder / "cache"), "max_size": "1MiB"}
        config.write_text(yaml.safe_dump({"cache": cache, "upstreams": upstreams}))
        command = [*PROXY, "doctor", "--config", str(config), *arguments]
        pipe = asyncio.subprocess.PIPE
        environment = {**os.environ, "COLUMNS": str(columns)}
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=environment)
        out, err = await process.communicate()
        assert process.returncode is not None
        examined = Examined(process.returncode, out.decode(), err.decode())
        assert "Traceback" not in examined.err
        assert SECRET not in examined.out + examined.err
        return examined


@pytest.fixture
def doctor(tmp_path: Path) -> Office:
    return Office(tmp_path)


def at(url: str, aws: AwsDoor, **auth: str) -> dict[str, Any]:
    return {"url": url, "auth": {"type": "ecr", "endpoint_url": aws.url, **auth}}


@needs_registry
async def test_a_pull_that_works_is_shown_step_by_step(doctor: Office, place: Place, aws: AwsDoor) -> None:
    examined = await doctor({HOST: at(place.registry.url, aws)}, "--image", f"{HOST}/team/app:v1", "--json")
    assert (examined.status, examined.failed) == (0, [])
    steps = examined.steps
    assert {name for name, step in steps.items() if step["verdict"] == "skipped"} == {"TLS"}
    assert steps["AWS credentials"]["detail"].endswith("found by provider 'env'")
    assert steps["AWS credentials"]["detail"].startswith("arn:aws:")
    assert steps["AWS token"]["detail"] == "good for 12.0 h"
    assert {step["name"] for step in json.loads(examined.out) if step["subject"] == "host"} >= {"disk space"}


@needs_registry
async def test_a_narrow_terminal_loses_no_word(doctor: Office, place: Place, aws: AwsDoor) -> None:
    image = f"{HOST}/team/app:v1"
    wide = await doctor({HOST: at(place.registry.url, aws)}, "--image", image, "--json")
    narrow = await doctor({HOST: at(place.registry.url, aws)}, "--image", image, columns=70)
    assert narrow.status == 0
    assert "…" not in narrow.out
    heading = next(line for line in narrow.out.splitlines() if "what was found" in line)
    start = heading.index("what was found")
    found = "".join(line[start:].strip() for line in narrow.out.splitlines()).replace(" ", "")
    for step in wide.steps.values():
        if step["name"] != "AWS credentials":  # moto makes up another session each time
            assert step["detail"].replace(" ", "") in found


async def test_an_upstream_that_cannot_even_be_asked_keeps_nobody_from_the_others(doctor: Office) -> None:
    async with FaultUpstream() as up:
        up.page("/v2/", b"{}")
        examined = await doctor({"bad.test": {"url": "https://1.2"}, "good.test": {"url": up.url}}, "--json")
    verdicts = {(step["subject"], step["name"]): step["verdict"] for step in json.loads(examined.out)}
    assert (examined.status, verdicts["bad.test", "settings"]) == (1, "failed")
    assert verdicts["good.test", "/v2/ accepted"] == "ok"
    (told,) = [step for step in json.loads(examined.out) if step["subject"] == "bad.test"]
    assert "no usual address" in told["detail"]


async def test_a_region_that_is_not_the_registrys_is_named(doctor: Office, place: Place, aws: AwsDoor) -> None:
    elsewhere = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    examined = await doctor({elsewhere: at(place.registry.url, aws, region=REGION)}, "--json")
    assert (examined.status, examined.failed) == (1, ["AWS token"])
    assert examined.steps["AWS token"]["detail"] == f"the token is of {REGION}, the registry in eu-west-1"
    assert "auth.region" in examined.steps["AWS token"]["fix"]
    assert examined.steps["signs in"]["verdict"] == "skipped"


@needs_registry
async def test_a_token_that_the_registry_does_not_take_is_not_the_networks_fault(
    doctor: Office, place: Place, aws: AwsDoor
) -> None:
    place.registry.accept("of an account elsewhere")
    examined = await doctor({HOST: at(place.registry.url, aws)}, "--json")
    assert (examined.status, examined.failed) == (1, ["signs in"])
    assert "account and region" in examined.steps["signs in"]["fix"]


async def test_a_role_that_may_not_be_assumed_is_named(doctor: Office, place: Place, aws: AwsDoor) -> None:
    aws.failure = (403, "AccessDenied")
    examined = await doctor({HOST: at(place.registry.url, aws, role_arn=ROLE)}, "--json")
    assert (examined.status, examined.failed) == (1, ["AWS credentials"])
    assert examined.err == ""
    assert f"trust policy of {ROLE}" in examined.steps["AWS credentials"]["detail"]
    assert "deploy/aws/README.md" in examined.steps["AWS credentials"]["fix"]


async def test_a_machine_without_credentials_is_told_where_they_come_from(
    doctor: Office, place: Place, aws: AwsDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    examined = await doctor({HOST: at(place.registry.url, aws)}, "--json")
    assert (examined.status, examined.failed) == (1, ["AWS credentials"])
    assert "attach a role" in examined.steps["AWS credentials"]["detail"]
    assert aws.calls == {}


async def test_a_registry_that_is_down_fails_where_it_cannot_be_connected_to(
    doctor: Office, place: Place, aws: AwsDoor
) -> None:
    examined = await doctor({HOST: at(f"http://127.0.0.1:{free_port()}", aws)}, "--json")
    assert (examined.status, examined.failed) == (1, ["connects"])
    assert f"com.amazonaws.{REGION}.ecr.dkr" in examined.steps["connects"]["fix"]


async def test_a_certificate_that_nobody_vouches_for_is_told_with_where_to_name_its_authority(
    doctor: Office, aws: AwsDoor, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    async with FaultUpstream(tls=authority.server()) as up:
        up.page("/v2/", b"{}")
        examined = await doctor({"registry.test": {"url": up.url}}, "--json")
        assert (examined.status, examined.failed) == (1, ["TLS"])
        assert "ca_file" in examined.steps["TLS"]["fix"]
        trusted = {"registry.test": {"url": up.url, "ca_file": str(authority.ca_file)}}
        assert (await doctor(trusted, "--json")).status == 0


@needs_registry
async def test_an_image_that_is_not_there_is_told_apart(doctor: Office, place: Place, aws: AwsDoor) -> None:
    upstreams = {HOST: at(place.registry.url, aws)}
    examined = await doctor(upstreams, "--image", f"{HOST}/team/none:v1", "--json")
    assert (examined.status, examined.failed) == (1, ["manifest"])
    assert f"account 123456789012 has it in {REGION}" in examined.steps["manifest"]["fix"]
    pattern: dict[str, Any] = {f"*.dkr.ecr.{REGION}.amazonaws.com": {}}
    lookalike = await doctor(pattern, "--image", f"evil.dkr.ecr.{REGION}.amazonaws.com/team/app:v1")
    assert (lookalike.status, lookalike.out) == (2, "")
    assert "evil.dkr.ecr" in lookalike.err
    unknown = await doctor(upstreams, "--image", "quay.io/team/app:v1")
    assert (unknown.status, unknown.out) == (2, "")
    assert "quay.io/team/app:v1 does not begin with the name of an upstream" in unknown.err


@pytest.mark.parametrize(
    ("upstreams", "says"),
    [
        ({HOST: {"auth": {"type": "ecr", "role_arn": "arn:aws:iam::1:role/x"}}}, "not the ARN of a role"),
        ({f"{HOST}.evil.test": {}}, "looks like an ECR registry but is none"),
    ],
    ids=["malformed ARN", "only looks like ECR"],
)
async def test_what_the_configuration_already_shows_needs_no_examination(
    doctor: Office, aws: AwsDoor, upstreams: dict[str, Any], says: str
) -> None:
    examined = await doctor(upstreams)
    assert (examined.status, examined.out) == (2, "")
    assert says in examined.err
    assert aws.calls == {}
