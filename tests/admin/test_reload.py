"""A changed configuration, taken while the proxy runs."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.admin.messages import ReloadResult
from proxy.admin.reload import differing, flat
from tests.cast import FaultUpstream
from tests.commands.test_progress import Person
from tests.scenarios.process import Site


class Configured(Site):
    """Its file can be changed while it runs."""

    async def told(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((await self.ask_admin("/api/v1/status")).body)
        return found

    async def reloaded(self, count: int) -> None:
        """As often as that, for better or worse."""
        async with asyncio.timeout(20):
            while sum(map(int, await self._counts())) < count:
                await asyncio.sleep(0.02)

    async def _counts(self) -> list[float]:
        text = (await self.ask_admin("/metrics")).body.decode()
        return [float(line.split()[1]) for line in text.splitlines() if line.startswith("entrepot_reloads_total")]

    def blocks_hangups(self) -> bool:
        status = Path(f"/proc/{self.pid}/status").read_text()
        [blocked] = [line.split()[1] for line in status.splitlines() if line.startswith("SigBlk")]
        return bool(int(blocked, 16) >> (signal.SIGHUP - 1) & 1)

    @property
    def person(self) -> Person:
        person = self.config.with_name("person.yaml")
        person.write_text(yaml.safe_dump({"admin": f"127.0.0.1:{self.admin}"}))
        return Person(person)


@pytest.fixture
async def entrepot(tmp_path: Path) -> AsyncIterator[Configured]:
    async with FaultUpstream() as upstream:
        running = Configured(tmp_path, upstream.url)
        try:
            yield running
        finally:
            await running.dispose()


async def test_of_many_hangups_in_a_row_the_last_configuration_is_in_force(entrepot: Configured) -> None:
    await entrepot.start()
    for number in range(8):
        entrepot.rewrite(pins=[f"team/app-{number}:v1"])
        entrepot.signal(signal.SIGHUP)
        await entrepot.reloaded(1 + number)
    for number in range(8, 20):
        entrepot.rewrite(pins=[f"team/app-{number}:v1"])
        entrepot.signal(signal.SIGHUP)
    async with asyncio.timeout(20):
        while "team/app-19:v1" not in (await entrepot.person("pin", "--list")).out:
            await asyncio.sleep(0.02)
    await entrepot.stop()


async def test_a_hangup_before_there_is_anything_to_reload_waits_for_it(entrepot: Configured) -> None:
    await entrepot.launch()
    async with asyncio.timeout(20):
        while not entrepot.blocks_hangups():
            await asyncio.sleep(0)
    entrepot.signal(signal.SIGHUP)
    await entrepot.announced()
    await entrepot.reloaded(1)
    entrepot.signal(signal.SIGTERM)
    entrepot.signal(signal.SIGHUP)
    assert await entrepot.ended() == 0


async def test_a_reload_by_command_names_what_changed_what_holds_and_what_waits(entrepot: Configured) -> None:
    await entrepot.start()
    assert (await entrepot.person("reload")).out.startswith("nothing has changed")
    entrepot.rewrite(pins=["team/app"], log={"level": "debug"})
    said = json.loads((await entrepot.person("reload", "--json")).out)
    assert (said["changed"], said["applied"], said["needsRestart"]) == (["log.level", "pins"], ["pins"], ["log.level"])
    again = await entrepot.person("reload")
    assert (again.status, "needs a restart: log.level" in again.out) == (0, True), "it is not forgotten"
    entrepot.rewrite(pins=7)
    refused = await entrepot.person("reload")
    assert (refused.status, refused.out, "pins" in refused.err) == (2, "", True)
    told = await entrepot.told()
    assert told["lifecycle"]["reloads_refused"] == 1
    assert "pins" in told["reload"]["refused"]
    assert "the last reload was refused" in (await entrepot.person("status")).out
    await entrepot.stop()


async def test_what_is_likely_a_mistake_is_told_at_the_start_and_at_each_reload(
    entrepot: Configured, tmp_path: Path
) -> None:
    secret = tmp_path / "word"
    secret.write_text("x")
    secret.chmod(0o644)
    auth = {"type": "basic", "username": "me", "password_file": str(secret)}
    entrepot.rewrite(upstreams={"a.test": {"auth": auth}})
    await entrepot.start()
    assert entrepot.output.read_text().count(f"{secret} holds a secret and may be read by everybody") == 1
    assert (await entrepot.person("reload")).status == 0
    assert entrepot.output.read_text().count(f"{secret} holds a secret and may be read by everybody") == 2
    await entrepot.stop()


async def test_a_policy_file_with_other_contents_is_a_change(entrepot: Configured, tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    rule = {
        "rulePriority": 1,
        "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 5},
        "action": {"type": "expire"},
    }
    policy.write_text(json.dumps({"rules": [rule]}))
    entrepot.rewrite(lifecycle=[{"repositories": ["*"], "policy_file": str(policy)}])
    await entrepot.start()
    policy.write_text(json.dumps({"rules": [{**rule, "rulePriority": 2}]}))
    said = json.loads((await entrepot.person("reload", "--json")).out)
    assert said["changed"] == said["applied"] == ["lifecycle"]
    await entrepot.stop()


async def test_credentials_that_cannot_be_read_any_more_are_a_trouble_and_no_end(
    entrepot: Configured, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    auth = {"type": "basic", "username": "me", "password_file": str(secret)}
    entrepot.rewrite(upstreams={"registry.test": {"auth": auth}})
    await entrepot.start()
    secret.unlink()
    refused = await entrepot.person("reload")
    assert (refused.status, str(secret) in refused.err) == (2, True)
    assert (await entrepot.ask_admin("/readyz")).status == 200
    await entrepot.stop()


def test_settings_are_compared_by_their_paths() -> None:
    before = flat({"a": {"b": 1, "c": {}}, "d": [1, 2]})
    assert before == {"a.b": 1, "a.c": {}, "d": [1, 2]}
    assert differing(before, flat({"a": {"b": 2}, "d": [1, 2], "e": None})) == ("a.b", "a.c", "e")


def test_a_result_is_told_in_one_line() -> None:
    result = ReloadResult(at=0.0, changed=("pins",), applied=("pins",), policies=1, pins=2)
    assert result.told == "changed: pins; applied: pins (1 lifecycle policies and 2 pins are in force)"
