"""Tags of immutable ECR repositories are not asked for again, where the role may see that they are immutable."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.cast.aws import OTHER_ACCOUNT, REGION, AwsDoor, password_of
from tests.scenarios.ecr.stage import HOST, App, Clock, Ecr, image, running, upstream_of

HOUR = 3600.0
FILTERS = [{"filterType": "WILDCARD", "filter": "latest*"}]


async def make_repository(moto_url: str, name: str, mutability: str) -> None:
    from aiobotocore.session import AioSession  # type: ignore[import-untyped]

    more: dict[str, Any] = {"imageTagMutabilityExclusionFilters": FILTERS} if "EXCLUSION" in mutability else {}
    async with AioSession().create_client("ecr", region_name=REGION, endpoint_url=moto_url) as ecr:
        made = await ecr.create_repository(repositoryName=name, imageTagMutability=mutability, **more)
    assert made["repository"]["imageTagMutability"] == mutability


async def revalidations(app: App, ecr: Ecr, name: str, tag: str, ahead: Clock) -> int:
    """How often upstream is asked in five pulls an hour apart, once the repository is known."""
    image(ecr.up, name, tag, f"{name}:{tag}".encode())
    for hours in range(2):  # the first revalidation is what makes anybody look at the repository
        ahead.ahead += 2 * HOUR / 10 if hours else 0
        assert (await app.manifest(f"{name}:{tag}")).status == 200
    if looks := [task for task in asyncio.all_tasks() if task.get_name() == "tag mutability"]:
        await asyncio.wait(looks)  # the pull did not wait for AWS
    before = len(ecr.up.requests("manifest"))
    for _ in range(5):
        ahead.ahead += HOUR / 10
        assert (await app.manifest(f"{name}:{tag}")).status == 200
    return len(ecr.up.requests("manifest")) - before


@pytest.mark.parametrize(
    "case",
    [
        ("IMMUTABLE", "v1", 0),
        ("MUTABLE", "v1", 5),
        ("IMMUTABLE_WITH_EXCLUSION", "v1", 0),
        ("IMMUTABLE_WITH_EXCLUSION", "latest-1", 5),
    ],
    ids=lambda case: f"{case[0]} {case[1]}",
)
async def test_what_ecr_says_of_a_repository_decides_whether_its_tags_are_asked_for(
    app: App, ecr: Ecr, aws: AwsDoor, moto_url: str, ahead: Clock, case: tuple[str, str, int]
) -> None:
    mutability, tag, asked = case
    name = f"team/{mutability.lower().replace('_', '-')}-{tag}"
    await make_repository(moto_url, name, mutability)
    assert await revalidations(app, ecr, name, tag, ahead) == asked
    assert aws.calls["DescribeRepositories"] == 1


async def test_a_role_that_may_not_describe_repositories_pulls_as_ever(
    ecr: Ecr, aws: AwsDoor, ahead: Clock, tmp_path: Path
) -> None:
    aws.failure, aws.failing = (400, "AccessDeniedException"), "DescribeRepositories"
    ecr.accepted.add(password_of(OTHER_ACCOUNT))
    upstream = upstream_of(ecr.up.url, aws.url)
    upstream["auth"]["role_arn"] = f"arn:aws:iam::{OTHER_ACCOUNT}:role/pull"
    async with running(tmp_path / "app", {"upstreams": {HOST: upstream}}, ahead) as app:
        for name in ("team/app", "team/other"):
            assert await revalidations(app, ecr, name, "v1", ahead) == 5
        said = await app.everything_said()
    assert aws.calls == {"AssumeRole": 1, "GetAuthorizationToken": 1, "DescribeRepositories": 2}
    assert '"level": "error"' not in said
    assert '"level": "warning"' not in said
