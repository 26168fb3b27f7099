"""What commands do to a running proxy, and what they say."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import yaml

from proxy import __version__
from tests.cast import FaultUpstream
from tests.commands.test_progress import Person, Said, entrepot, person
from tests.ports import free_port
from tests.scenarios.house import APP, NAME
from tests.scenarios.process import Site

__all__ = ["entrepot", "person"]  # fixtures

IMAGE = f"{NAME}/{APP}"


async def test_the_running_proxy_is_found_without_any_configuration(entrepot: Site, person: Person) -> None:
    url = f"http://127.0.0.1:{entrepot.admin}"
    nothing = Person(None)
    by_option = await nothing("status", "--admin", url, "--json")
    by_environment = await nothing("status", "--json", ENTREPOT_ADMIN_URL=url)
    assert by_option.status == by_environment.status == 0
    assert json.loads(by_option.out)["version"] == json.loads(by_environment.out)["version"] == __version__
    nowhere = f"127.0.0.1:{free_port()}"
    assert (await nothing("status", "--admin", nowhere, ENTREPOT_ADMIN_URL=url)).status == 1, "the option stands above"
    assert (await nothing("status", "--admin", "ftp://x")).status == 2


async def test_a_command_to_the_running_proxy_needs_nothing_of_the_configuration_but_its_address(
    entrepot: Site, tmp_path: Path
) -> None:
    auth = {"type": "basic", "username": "me", "password_file": str(tmp_path / "not there")}
    config = tmp_path / "locked.yaml"
    broken = {"upstreams": {NAME: {"auth": auth}}, "pins": 7}
    config.write_text(yaml.safe_dump({"admin": f"127.0.0.1:{entrepot.admin}", **broken}))
    for words in (["status"], ["pin", "--list"], ["purge", "no/such", "--yes"], ["verify"], ["reload"]):
        said = await Person(config)(*words)
        assert "password" not in said.err, words
        assert said.status in (0, 1), words


async def test_the_status_for_people_is_one_screen(person: Person) -> None:
    said = await person("status")
    assert said.status == 0
    assert len(said.out.splitlines()) <= 24
    assert f"entrepot {__version__} is ready" in said.out
    assert "of 2.0GiB" in said.out
    assert NAME in said.out


async def test_a_pin_says_what_it_keeps_and_what_it_does_not_find(person: Person) -> None:
    assert "1 image held now" in (await person("pin", f"{IMAGE}:v1")).out
    assert "nothing held matches it yet" in (await person("pin", f"{IMAGE}:v9")).out
    assert (await person("unpin", f"{IMAGE}:v9")).out.startswith(f"unpinned {IMAGE}:v9")
    assert (await person("unpin", f"{IMAGE}:v9")).status == 1


async def test_a_purge_of_pinned_content_says_what_it_did_not_do_and_wants_force(person: Person) -> None:
    await person("pin", f"{IMAGE}:v1")
    refused = await person("purge", f"{IMAGE}:v1", "--yes")
    assert refused.status == 1
    assert f"stays, pinned by {IMAGE}:v1" in refused.out
    assert "--force" in refused.out
    forced = await person("purge", f"{IMAGE}:v1", "--yes", "--force", "--json")
    assert (forced.status, json.loads(forced.out)["summary"]["purged"]) == (0, 1)
    assert f"{IMAGE}:v1" in (await person("pin", "--list")).out, "the pin stays"
    assert (await person("purge", f"{IMAGE}:v1", "--yes")).out == f"nothing held matches {IMAGE}:v1\n"


async def test_a_pinned_digest_is_held_wherever_it_is_meant(person: Person) -> None:
    pulled = await person("lifecycle", "preview", "--json")
    digest = json.loads(pulled.out)["previewResults"][0]["imageDigest"]
    await person("pin", f"{IMAGE}@{digest}")
    refused = await person("purge", digest, "--yes")
    assert (refused.status, f"pinned by {IMAGE}@{digest}" in refused.out) == (1, True)
    assert (await person("purge", digest, "--yes", "--force")).status == 0


async def test_a_verification_says_how_far_it_is_within_a_large_content(
    entrepot: Site, upstream: FaultUpstream
) -> None:
    digest = upstream.blob(APP, os.urandom(12 << 20))
    assert (await entrepot.get(f"/v2/{NAME}/{APP}/blobs/{digest}")).status == 200
    seen: list[int] = []
    body = json.dumps({"rate": "4 MB/s"})
    command = ["-sN", "-H", "Content-Type: application/json", "-d", body]
    pipe = asyncio.subprocess.PIPE
    url = f"http://127.0.0.1:{entrepot.admin}/api/v1/verify"
    curl = await asyncio.create_subprocess_exec("curl", *command, url, stdout=pipe)
    assert curl.stdout is not None
    async for line in curl.stdout:
        seen += [json.loads(line)["progress"]["bytes"]] if b"progress" in line else []
    assert await curl.wait() == 0
    within = [count for count in seen if 1 << 20 < count < 12 << 20]
    assert len(within) >= 2


async def test_stopping_a_verification_is_no_traceback(entrepot: Site, person: Person) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy", "verify", "--rate", "1kB", "--admin", f"127.0.0.1:{entrepot.admin}",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    while not (await _verifying(entrepot)):
        await asyncio.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in out + err
    assert err.decode().startswith("stopped")


async def _verifying(entrepot: Site) -> bool:
    return bool(json.loads((await entrepot.ask_admin("/api/v1/status")).body)["scrub"]["contents"])


async def test_the_version_is_told() -> None:
    assert await Person(None)("--version") == Said(0, f"entrepot {__version__}\n", "")
