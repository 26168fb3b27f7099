"""``entrepot warm`` as people type it, to a running proxy."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest
import yaml

from proxy.core.manifests import OCI_INDEX
from tests.cast import FaultUpstream, roles
from tests.commands.test_progress import ESCAPE, Person
from tests.process import PROXY
from tests.scenarios.house import APP, NAME, MiB, manifest_path
from tests.scenarios.invariants import stored
from tests.scenarios.process import Site
from tests.scenarios.shelf import Image, put_image

IMAGE = f"{NAME}/{APP}"


@pytest.fixture
def person(tmp_path: Path, entrepot: Site) -> Person:
    config = tmp_path / "person.yaml"
    config.write_text(yaml.safe_dump({"admin": f"127.0.0.1:{entrepot.admin}"}))
    return Person(config)


async def test_names_from_the_command_line_and_a_list_of_pods_are_brought_and_told(
    entrepot: Site, upstream: FaultUpstream, person: Person, tmp_path: Path
) -> None:
    one, two = put_image(upstream, "v1", b"one" * 1000), put_image(upstream, "v2", b"two" * 1000)
    pods = {"kind": "List", "items": [{"spec": {"containers": [{"image": f"{IMAGE}:v2"}]}}]}
    (tmp_path / "pods.json").write_text(json.dumps(pods))
    said = await person("warm", f"{IMAGE}:v1", "--from", str(tmp_path / "pods.json"))
    assert (said.status, said.err) == (0, "")
    first, second, end = said.out.splitlines()
    assert {first.split()[0], second.split()[0]} == {f"{IMAGE}:v1", f"{IMAGE}:v2"}
    assert "3 contents" in first
    assert end.startswith("2 images held, 6.")
    assert set(stored(entrepot.folder)) == one.all | two.all
    again = await person("warm", f"{IMAGE}:v1", f"{IMAGE}:v2")
    assert again.out.splitlines()[-1] == "2 images held, 0B fetched"


async def test_a_list_on_standard_input(entrepot: Site, upstream: FaultUpstream) -> None:
    image = put_image(upstream, "v1", b"one")
    admin = ["--admin", f"127.0.0.1:{entrepot.admin}"]
    compose = f"services:\n  app:\n    image: {IMAGE}:v1\n".encode()
    process = await asyncio.create_subprocess_exec(
        *PROXY, "warm", "--from", "-", *admin, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(compose)
    assert process.returncode == 0, out
    assert set(stored(entrepot.folder)) == image.all


async def test_what_failed_stands_in_a_table_with_its_reason_and_the_status_is_one(
    entrepot: Site, upstream: FaultUpstream, person: Person
) -> None:
    put_image(upstream, "v1", b"one")
    upstream.always("/v2/team/secret/manifests/v1", roles.refuses())
    names = [f"{IMAGE}:v1", f"{IMAGE}:v9", f"{NAME}/team/secret:v1", "Wrong", "other.test/a"]
    said = await person("warm", *names)
    assert said.status == 1
    head, *rows = said.out[said.out.index("IMAGE ") :].splitlines()
    assert head.split() == ["IMAGE", "WHY", "NOT"]
    told = {row.split()[0]: row for row in rows if row and not row.startswith("1 image held, 4 not")}
    assert told.keys() == {f"{IMAGE}:v9", f"{NAME}/team/secret:v1", "Wrong", "other.test/a:latest"}
    assert "is not a configured upstream" in told["other.test/a:latest"]
    said = await person("warm", *names, "--json")
    assert said.status == 1
    found = json.loads(said.out)
    assert (found["held"], found["failed"]) == (1, 4)
    kinds = {each["name"]: each["kind"] for each in found["images"]}
    assert kinds[f"{NAME}/team/secret:v1"] == "denied"
    assert kinds["Wrong"] == "reference"


async def test_platforms_tags_by_range_and_pins(entrepot: Site, upstream: FaultUpstream, person: Person) -> None:
    for tag in ("1.0.0", "1.1.0", "2.0.0"):
        put_image(upstream, tag, tag.encode())
    upstream.tags(APP, ["1.0.0", "1.1.0", "2.0.0"])
    said = await person("warm", f"{IMAGE}:^1", "--newest", "1", "--pin", "--json")
    assert [each["name"] for each in json.loads(said.out)["images"]] == [f"{IMAGE}:1.1.0"]
    assert f"{IMAGE}:1.1.0" in (await person("pin", "--list")).out
    put_index(upstream, "multi", "amd64", "arm64")
    said = await person("warm", f"{IMAGE}:multi", "--platform", "linux/riscv64")
    assert said.status == 1
    assert "it has no linux/riscv64: it has linux/amd64, linux/arm64" in said.out
    before = len(stored(entrepot.folder))
    assert (await person("warm", f"{IMAGE}:multi", "--platform", "linux/arm64")).status == 0
    assert len(stored(entrepot.folder)) == before + 3
    assert (await person("warm", f"{IMAGE}:multi", "--all-platforms")).status == 0
    assert len(stored(entrepot.folder)) == before + 6


def put_index(up: FaultUpstream, tag: str, *architectures: str) -> list[Image]:
    images = [put_image(up, None, name.encode()) for name in architectures]
    listed = [
        {"digest": image.digest, "size": 1, "platform": {"os": "linux", "architecture": name}}
        for image, name in zip(images, architectures, strict=True)
    ]
    up.manifest(APP, tag, json.dumps({"schemaVersion": 2, "manifests": listed}).encode(), OCI_INDEX)
    return images


async def test_wrong_usage_is_said_before_anything_is_done(person: Person, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("# nothing\n")
    (tmp_path / "bad.json").write_text("{")
    for words, status, part in (
        (["a", "--platform", "amd64"], 2, "not a platform"),
        (["a", "--platform", "linux/amd64", "--all-platforms"], 2, "not both"),
        (["--from", str(tmp_path / "none")], 2, "No such file"),
        (["--from", str(tmp_path / "bad.json")], 2, "no JSON"),
        (["--from", str(tmp_path / "empty")], 1, "no images are named"),
        ([], 2, "warm.images"),
    ):
        said = await person("warm", *words)
        assert (said.status, said.out) == (status, ""), said
        assert part in said.err


async def test_a_terminal_shows_bars_and_the_output_stays_clean(
    entrepot: Site, upstream: FaultUpstream, person: Person
) -> None:
    put_image(upstream, "v1", b"one" * MiB)
    said = await person.at_terminal("warm", f"{IMAGE}:v1", "--json")
    assert said.status == 0
    assert json.loads(said.out)["held"] == 1
    assert "images 1/1" in said.err
    said = await person.at_terminal("warm", f"{IMAGE}:v1")
    assert ESCAPE not in said.out
    assert said.out.splitlines()[-1] == "1 image held, 0B fetched"


async def test_stopped_by_a_person_it_goes_on_where_it_was(entrepot: Site, upstream: FaultUpstream) -> None:
    image = put_image(upstream, "v1", b"one" * 1000, b"two" * MiB)
    gate = asyncio.Event()
    upstream.plays(f"/v2/{APP}/blobs/{image.parts[2]}", roles.holds(MiB, gate))
    command = [sys.executable, "-m", "proxy", "warm", f"{IMAGE}:v1", "--admin", f"127.0.0.1:{entrepot.admin}"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    async with asyncio.timeout(30):
        while image.parts[1] not in stored(entrepot.folder):
            await asyncio.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert (process.returncode, b"Traceback" in err) == (130, False)
    assert err.startswith(b"stopped")
    gate.set()
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    out, _ = await process.communicate()
    assert process.returncode == 0, out
    assert set(stored(entrepot.folder)) == image.all
    held = [seen for seen in upstream.requests("blob") if seen.target.endswith(image.parts[1])]
    assert len(held) == 1


async def test_a_proxy_that_stops_says_so_and_the_next_one_goes_on(
    entrepot: Site, upstream: FaultUpstream, person: Person
) -> None:
    image = put_image(upstream, "v1", b"one" * MiB)
    gate = asyncio.Event()
    upstream.plays(f"/v2/{APP}/blobs/{image.parts[1]}", roles.holds(MiB, gate))
    command = asyncio.create_task(person("warm", f"{IMAGE}:v1"))
    async with asyncio.timeout(30):
        while not entrepot.half_born():
            await asyncio.sleep(0.02)
    await entrepot.stop()
    said = await command
    assert said.status == 1
    assert "Traceback" not in said.err + entrepot.output.read_text()
    gate.set()
    await entrepot.start()
    assert (await entrepot.command("warm", f"{IMAGE}:v1")).returncode == 0
    assert set(stored(entrepot.folder)) == image.all


async def test_offline_what_is_held_is_warm_and_all_else_is_said_to_be_offline(
    entrepot: Site, upstream: FaultUpstream, person: Person
) -> None:
    image = put_image(upstream, "v1", b"one")
    assert (await person("warm", f"{IMAGE}:v1")).status == 0
    entrepot.rewrite(offline=True)
    assert (await entrepot.command("reload")).returncode == 0
    asked = len(upstream.requests())
    assert (await person("warm", f"{IMAGE}:v1", f"{IMAGE}@{image.digest}", f"{IMAGE}:v*")).status == 0
    said = await person("warm", f"{IMAGE}:v2", "--json")
    assert said.status == 1
    assert json.loads(said.out)["images"][0]["kind"] == "offline"
    assert len(upstream.requests()) == asked


async def test_images_of_the_configuration_come_without_a_name_and_a_reload_takes_others(
    entrepot: Site, upstream: FaultUpstream, person: Person
) -> None:
    one, two = put_image(upstream, "v1", b"one"), put_image(upstream, "v2", b"two")
    upstream.tags(APP, ["v1", "v2"])
    entrepot.rewrite(warm={"images": [f"{IMAGE}:v1"], "schedule": "0 3 * * *"})
    said = await entrepot.command("reload")
    assert "applied: warm.images, warm.schedule" in said.stdout
    assert (await person("warm")).status == 0
    assert set(stored(entrepot.folder)) == one.all
    status = json.loads((await entrepot.ask_admin("/api/v1/status")).body)
    assert status["warm"]["due_at"] is not None
    assert "next " in (await person("status")).out
    choice = {"repository": IMAGE, "tags": {"glob": "v*", "newest": 1}}
    entrepot.rewrite(warm={"images": [choice], "pin": True})
    assert (await entrepot.command("reload")).returncode == 0
    assert (await person("warm")).status == 0
    assert set(stored(entrepot.folder)) == one.all | two.all
    assert f"{IMAGE}:v2" in (await person("pin", "--list")).out
    reply = await entrepot.get(manifest_path("v2"))
    assert "hit" in reply.headers["cache-status"]
