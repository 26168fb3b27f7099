"""One Entrepot for each file of scenes, as users start it, with every kind of registry behind it by its own name."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.scenarios.process import site
from tests.zoo.pulls import Pulls
from tests.zoo.registries import REGISTRIES
from tests.zoo.registry import ScriptedRegistry

NAMES = [kind.manners.name for kind in REGISTRIES]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keys for AWS, and nothing else that this machine knows of it."""
    with pytest.MonkeyPatch.context() as patch:
        for key in [key for key in os.environ if key.startswith(("AWS_", "BOTO"))]:
            patch.delenv(key)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pulls(environment: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pulls]:
    """Tags are asked about at each pull, absences are not remembered, so that each request shows what it does."""
    async with AsyncExitStack() as stack:
        registries = [await stack.enter_async_context(kind()) for kind in REGISTRIES]
        settings = {
            "upstreams": {registry.name: registry.settings() for registry in registries},
            "tags": {"ttl": "0s", "negative_ttl": "0s"},
            "log": {"format": "json"},
        }
        folder = tmp_path_factory.mktemp("zoo")
        running = await stack.enter_async_context(site(folder, "http://127.0.0.1:1", settings))
        yield Pulls(running, {registry.name: registry for registry in registries})
        await running.stop()
        assert "Traceback" not in running.output.read_text(), running.output.read_text()[-3000:]


@pytest.fixture(params=NAMES)
def registry(request: pytest.FixtureRequest, pulls: Pulls) -> Iterator[ScriptedRegistry]:
    found = pulls.registries[request.param]
    found.shown.clear()
    yield found
    left = len(found.bodies.instead) + found.up.unplayed
    found.be_steady()
    assert not left, "the scene has not shown its fault"
