"""AWS as moto plays it, behind a door that counts; nothing of the machine's own AWS settings is seen."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.cast import FaultUpstream
from tests.cast.aws import AwsDoor, aws_door, isolate_from_aws, moto
from tests.scenarios.ecr.stage import HOST, App, Clock, Ecr, running, upstream_of

SECRET = "canary-secret-key"


@pytest.fixture(scope="module")
def moto_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with moto(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials anywhere."""
    isolate_from_aws(monkeypatch, tmp_path)


@pytest.fixture
async def aws(
    moto_url: str, nothing_stays: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[AwsDoor]:
    """Credentials in the environment, and the API that takes them."""
    async with aws_door(moto_url, monkeypatch, tmp_path, SECRET) as door:
        yield door


@pytest.fixture
def ahead() -> Clock:
    return Clock()


@pytest.fixture
def ecr(upstream: FaultUpstream) -> Ecr:
    return Ecr(upstream)


@pytest.fixture
async def app(ecr: Ecr, aws: AwsDoor, ahead: Clock, tmp_path: Path) -> AsyncIterator[App]:
    upstreams = {HOST: upstream_of(ecr.up.url, aws.url)}
    async with running(tmp_path / "app", {"upstreams": upstreams}, ahead) as app:
        yield app
