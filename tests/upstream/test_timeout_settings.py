"""How long a registry may take is a setting, and an upstream may have its own."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.config import Settings, load
from proxy.core.errors import Outage, UpstreamTimeout
from proxy.core.names import Digest, Tag
from proxy.registries import Registries, exchange_limits
from proxy.tasks.jobs import Jobs
from tests.cast import FaultUpstream, Line, roles
from tests.upstream.rig import NAME, drained

RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'


def settings_of(folder: Path, **given: Any) -> Settings:
    config = folder / "entrepot.yaml"
    config.write_text(yaml.safe_dump({"cache": {"path": str(folder / "cache")}, **given}))
    return load(config, {}).settings


def test_what_is_not_said_fits_registries_that_take_a_minute(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, upstreams={"a.test": {}, "b.test": {"timeouts": {"first_byte": "5m"}}})
    plain, patient = (exchange_limits(settings.upstreams[name].timeouts, 1) for name in ("a.test", "b.test"))
    assert (plain.connect, plain.first_byte, plain.stall, plain.total, plain.token_total) == (5, 60, 60, 120, 120)
    assert (patient.connect, patient.first_byte, patient.stall) == (5, 300, 60)


@pytest.mark.parametrize("where", ["for all", "for one"])
async def test_a_registry_that_begins_too_late_is_an_outage(jobs: Jobs, tmp_path: Path, where: str) -> None:
    hasty = {"first_byte": "100ms", "connect": "100ms"}
    async with FaultUpstream() as up:
        own = {"timeouts": hasty} if where == "for one" else {}
        shared = {"timeouts": hasty} if where == "for all" else {}
        settings = settings_of(tmp_path, upstreams={"a.test": {"url": up.url, **own}}, **shared)
        registries = Registries(settings, jobs)
        up.always("manifest", roles.silent)
        up.always("blob", roles.silent)
        with pytest.raises(UpstreamTimeout):
            await registries.get("a.test").manifest(NAME, Tag("1"))
        with pytest.raises(UpstreamTimeout):
            await registries.get("a.test").blob(NAME, Digest.of(b""))
        assert up.requests("manifest")
        assert up.requests("blob")
        await registries.close()


async def test_a_pause_in_the_middle_is_another_than_the_one_before(jobs: Jobs, tmp_path: Path) -> None:
    """The first byte may take longer than a stall."""
    timeouts = {"first_byte": "30s", "stall": "200ms"}
    async with FaultUpstream() as up:
        settings = settings_of(tmp_path, upstreams={"a.test": {"url": up.url, "timeouts": timeouts}})
        registries = Registries(settings, jobs)
        up.manifest(NAME, "1", RAW)
        digest = up.blob(NAME, b"content")
        for kind in ("manifest", "blob"):
            up.plays(kind, late)
        assert (await registries.get("a.test").manifest(NAME, Tag("1"))).raw == RAW
        assert await drained(await registries.get("a.test").blob(NAME, digest)) == b"content"
        up.always("manifest", roles.stalls(10))
        with pytest.raises(Outage):
            await registries.get("a.test").manifest(NAME, Tag("1"))
        assert up.unplayed == 0
        await registries.close()


async def late(line: Line) -> None:
    await asyncio.sleep(0.5)
    await roles.steady(line)
