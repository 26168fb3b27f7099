"""A changed configuration, taken while the proxy runs."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.admin.messages import ReloadResult
from proxy.admin.reload import differing, flat
from tests.cast import FaultUpstream, roles
from tests.cast.visitors import basic, htpasswd
from tests.commands.test_progress import Person, Said
from tests.scenarios.client import Client
from tests.scenarios.house import APP, MiB, blob_path, manifest_path
from tests.scenarios.process import Site

EXPIRING = {
    "rulePriority": 1,
    "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 5},
    "action": {"type": "expire"},
}


class Configured(Site):
    """Its file can be changed while it runs."""

    async def told(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((await self.ask_admin("/api/v1/status")).body)
        return found

    async def operate(self, name: str) -> dict[str, Any]:
        """The last line of an operation that needs no words."""
        async with await Client.connect(self.admin) as client:
            headers = {"Content-Type": "application/json", "Content-Length": "0", "Connection": "close"}
            await client.ask(f"/api/v1/{name}", headers, "POST")
            found: dict[str, Any] = json.loads((await client.reply()).body.splitlines()[-1])
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
async def upstream() -> AsyncIterator[FaultUpstream]:
    async with FaultUpstream() as upstream:
        yield upstream


@pytest.fixture
async def entrepot(tmp_path: Path, upstream: FaultUpstream) -> AsyncIterator[Configured]:
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
    entrepot.rewrite(pins=["team/app"], log={"access": "errors"})
    said = json.loads((await entrepot.person("reload", "--json")).out)
    assert (said["changed"], said["applied"], said["needsRestart"]) == (
        ["log.access", "pins"],
        ["pins"],
        ["log.access"],
    )
    again = await entrepot.person("reload")
    assert (again.status, "needs a restart: log.access" in again.out) == (0, True), "it is not forgotten"
    entrepot.rewrite(pins=7)
    refused = await entrepot.person("reload")
    assert (refused.status, refused.out, "pins" in refused.err) == (2, "", True)
    assert "the configuration is refused, all stays as it was: " in entrepot.output.read_text()
    assert 'entrepot_reloads_total{result="refused"} 1.0' in (await entrepot.ask_admin("/metrics")).body.decode()
    told = await entrepot.told()
    assert told["lifecycle"]["reloads_refused"] == 1
    assert "pins" in told["reload"]["refused"]
    assert "reload: the last one was refused" in (await entrepot.person("status")).out
    await entrepot.stop()


async def test_how_much_is_logged_changes_at_once(entrepot: Configured) -> None:
    await entrepot.start()
    entrepot.rewrite(log={"level": "error"})
    first = await entrepot.operate("reload")
    assert (first["applied"], first["needsRestart"]) == (["log.level"], [])
    entrepot.rewrite(log={"level": "info"})
    await entrepot.operate("reload")
    async with asyncio.timeout(60):
        while "applied: log.level" not in entrepot.output.read_text():
            await asyncio.sleep(0.02)
    assert entrepot.output.read_text().count("applied: log.level") == 1, "the first is told at the level of errors"
    await entrepot.stop()


async def test_a_file_is_compared_with_the_running_process_before_anything_is_changed(
    entrepot: Configured, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"rules": [EXPIRING]}))
    entrepot.rewrite(lifecycle=[{"repositories": ["*"], "policy_file": str(policy)}])
    await entrepot.start()
    address = {"ENTREPOT_ADMIN_URL": f"127.0.0.1:{entrepot.admin}"}

    async def compared(*words: str) -> Said:
        return await Person(None)("config", "check", str(entrepot.config), "--against-running", *words, **address)

    assert (await compared()).out == f"{entrepot.config}: good; the running proxy goes by it\n"
    entrepot.rewrite(log={"access": "errors"})
    assert (await entrepot.person("reload")).status == 0
    policy.write_text(json.dumps({"rules": [{**EXPIRING, "rulePriority": 2}]}))
    entrepot.rewrite(pins=["team/app"])
    assert (await compared()).out.splitlines() == [
        f"{entrepot.config}: good; against the running proxy 3 settings would change",
        "  lifecycle: other contents (by reload)",
        "  log.access: all -> errors (needs a restart)",
        '  pins: [] -> ["team/app"] (by reload)',
    ]
    found = json.loads((await compared("--json")).out)
    assert {each["setting"]: each["restart"] for each in found["differences"]} == {
        "lifecycle": False,
        "log.access": True,
        "pins": False,
    }
    assert (await entrepot.person("pin", "--list")).out.count("team/app") == 0, "nothing has changed"
    entrepot.rewrite(pins=7)
    refused = await compared()
    assert (refused.status, refused.out, f"{entrepot.config}:" in refused.err) == (2, "", True)
    assert "pins" in refused.err
    await entrepot.stop()


async def test_a_hundred_reloads_cost_no_request(entrepot: Configured, upstream: FaultUpstream, tmp_path: Path) -> None:
    """Hits on kept connections, with a login and without, ranges, and a blob that arrives meanwhile."""
    large, small = os.urandom(3 * MiB), b'{"schemaVersion":2,"config":{},"layers":[]}'
    held, arriving = upstream.blob(APP, large), upstream.blob(APP, late := os.urandom(2 * MiB))
    upstream.manifest(APP, "v1", small)
    users = str(htpasswd(tmp_path / "htpasswd"))
    entrepot.rewrite(clients={"htpasswd": users}, anonymous=True)
    await entrepot.start()
    assert (await entrepot.get(blob_path(held))).body == large
    gate, over = asyncio.Event(), asyncio.Event()
    upstream.plays("blob", roles.holds(MiB, gate))
    asks: list[tuple[str, dict[str, str], bytes]] = [
        (manifest_path("v1"), {}, small),
        (manifest_path("v1"), basic("alice"), small),
        (blob_path(held), {}, large),
        (blob_path(held), {"Range": "bytes=10-1000009"} | basic("alice"), large[10:1_000_010]),
    ]
    async with await entrepot.pull(blob_path(arriving)) as first, await entrepot.pull(blob_path(arriving)) as joined:
        assert [(await each.head()).status for each in (first, joined)] == [200, 200]
        async with asyncio.TaskGroup() as clients:
            loads = [clients.create_task(kept_asking(entrepot.port, *ask, over)) for ask in asks]
            for number in range(100):
                rules = [{"who": ["anonymous"], "pull": ["*"], "rate": f"{900 + number}MB/s"}]
                entrepot.rewrite(allow=rules, pins=[f"team/app-{number}:v1"])
                if number % 2:
                    entrepot.signal(signal.SIGHUP)
                    await entrepot.reloaded(number + 1)
                else:
                    assert "allow" in (await entrepot.operate("reload"))["applied"]
            over.set()
        assert min(load.result() for load in loads) > 0
        gate.set()
        assert [await each.received(2 * MiB) for each in (first, joined)] == [late, late]
    assert len(upstream.requests("blob")) == 2
    await entrepot.stop()


async def kept_asking(port: int, path: str, headers: dict[str, str], expected: bytes, over: asyncio.Event) -> int:
    """On one connection; how often."""
    count = 0
    async with await Client.connect(port) as client:
        while not over.is_set():
            await client.ask(path, headers)
            reply = await client.reply()
            assert (reply.status in (200, 206), reply.body == expected) == (True, True), reply.status
            assert reply.headers.get("connection") != "close"
            count += 1
    return count


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
    policy.write_text(json.dumps({"rules": [EXPIRING]}))
    entrepot.rewrite(lifecycle=[{"repositories": ["*"], "policy_file": str(policy)}])
    await entrepot.start()
    policy.write_text(json.dumps({"rules": [{**EXPIRING, "rulePriority": 2}]}))
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
