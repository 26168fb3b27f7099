"""What is held and what is under way, as people see it: ``ls``, ``inspect``, ``top``, ``status --watch``."""

import asyncio
import json
import re
import signal

import pytest
from typer.testing import CliRunner

from proxy.cli import app
from tests.cast import FaultUpstream, roles
from tests.commands.test_progress import Said
from tests.process import PROXY
from tests.scenarios.house import APP, NAME, MiB, blob_path, manifest_path
from tests.scenarios.process import Site
from tests.scenarios.shelf import put_image

IMAGE = f"{NAME}/{APP}"


class Typed:
    """Commands to the running proxy, in this process: one of their own each costs seconds on a busy machine."""

    def __init__(self, admin: int) -> None:
        self._admin = ["--admin", f"127.0.0.1:{admin}"]

    async def __call__(self, *words: str) -> Said:
        done = await asyncio.to_thread(CliRunner().invoke, app, [*words, *self._admin])
        return Said(done.exit_code, done.stdout, done.stderr)


@pytest.fixture
def person(entrepot: Site) -> Typed:
    return Typed(entrepot.admin)


async def test_what_is_held_is_listed_and_shown(entrepot: Site, upstream: FaultUpstream, person: Typed) -> None:
    assert (await person("ls")).out == "nothing is held\n"
    image = put_image(upstream, "v1", b"one" * 1000)
    for path in (manifest_path("v1"), *map(blob_path, image.parts)):
        assert (await entrepot.get(path)).status == 200
    await person("warm", f"{IMAGE}:v1")  # all of it is on the disk when that is done
    head, row, _, total = (await person("ls")).out.splitlines()
    assert head.split() == ["REPOSITORY", "IMAGES", "TAGS", "SIZE", "LAST", "USED"]
    assert (row.split()[:3], total) == ([IMAGE, "1", "1"], "1 image")
    assert (await person("ls", IMAGE)).out.splitlines()[1].split()[:4] == [IMAGE, "v1", image.digest[:19], "image"]
    [listed] = json.loads((await person("ls", IMAGE, "--json")).out)["images"]
    assert (listed["imageDigest"], listed["imageTags"]) == (image.digest, ["v1"])
    assert (await person("ls", "quay.io/*")).out == "nothing is held of quay.io/*\n"
    shown = (await person("inspect", f"{IMAGE}:v1")).out
    assert f"image       {IMAGE}@{image.digest}" in shown
    assert re.search(r"granted by  its registry's yes, .* ago", shown)
    assert [line.split()[0] for line in shown.splitlines()[-2:]] == ["config", "layer"]
    found = json.loads((await person("inspect", f"{IMAGE}@{image.digest}", "--json")).out)
    assert [part["digest"] for part in found["parts"]] == list(image.parts)
    absent = await person("inspect", f"{IMAGE}:v9")
    assert (absent.status, absent.out, absent.err) == (1, "", f"{IMAGE}:v9 is not held\n")
    assert (await person("inspect", "sha256:12")).status == 2


async def test_a_pull_under_way_is_seen_and_a_screen_goes_on_until_it_is_stopped(
    entrepot: Site, upstream: FaultUpstream, person: Typed
) -> None:
    digest = upstream.blob(APP, b"x" * (4 * MiB))
    gate = asyncio.Event()
    upstream.plays("blob", roles.holds(2 * MiB, gate))
    async with await entrepot.pull(blob_path(digest)) as client:
        await client.head()
        await client.received(MiB)
        async with asyncio.timeout(120):
            while json.loads((await person("top", "--json")).out)["arriving"][0]["received"] < 2 * MiB:
                pass
        seen = (await person("top", "--once", "--interval", "0.2")).out
        assert re.search(r"1 request under way, 1 fill; answered \S+/s, fetched 0B/s", seen)
        fill, pull = (line for line in seen.splitlines() if digest[:19] in line)
        assert fill.split()[1] == IMAGE
        assert "[#####.....]" in fill
        assert pull.startswith("127.0.0.1  miss")
        gate.set()
        await client.received(3 * MiB)
    admin = ["--admin", f"127.0.0.1:{entrepot.admin}", "--interval", "0.2"]
    for words in (["status", "--watch"], ["top"]):
        process = await asyncio.create_subprocess_exec(*PROXY, *words, *admin, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        screens = 0
        while screens < 2:
            line = await process.stdout.readline()
            assert line, "it ended by itself"
            screens += line.startswith(b"entrepot ") or b" under way, " in line
        process.send_signal(signal.SIGINT)
        await process.communicate()
        assert process.returncode == 130
    assert (await person("status", "--watch", "--json")).status == 2


async def test_status_says_the_same_to_people_and_to_machines(
    entrepot: Site, upstream: FaultUpstream, person: Typed
) -> None:
    entrepot.rewrite(pins="wrong")
    assert (await person("reload")).status == 2
    said = (await person("status")).out.splitlines()
    assert said[1].startswith("  ! reload: the last one was refused")
    assert said[2] == "    → correct it (entrepot config check), then entrepot reload"
    found = json.loads((await person("status", "--json")).out)
    assert [each["what"] for each in found["troubles"]] == ["reload"]
    assert found["state"] == "ready"
