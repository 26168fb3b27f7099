"""What long orders show meanwhile: signs of life on a terminal, and nothing but the result elsewhere."""

import asyncio
import json
import os
import pty
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from proxy.core.names import Digest
from tests.cast import FaultUpstream
from tests.process import PROXY
from tests.scenarios.client import Client, request
from tests.scenarios.house import APP, NAME, blob_path, manifest_path
from tests.scenarios.invariants import stored
from tests.scenarios.process import Site, site
from tests.scenarios.shelf import put_image

ESCAPE = "\x1b"


class Said(NamedTuple):
    status: int
    out: str
    err: str


class Person:
    """Types commands to the running proxy. ``env`` is what the shell adds to a plain one."""

    def __init__(self, config: Path | None) -> None:
        self._config = config

    async def __call__(self, *words: str, **env: str) -> Said:
        """With output that goes into pipes."""
        process = await self._start(words, env, asyncio.subprocess.PIPE)
        out, err = await process.communicate()
        assert process.returncode is not None
        return Said(process.returncode, out.decode(), err.decode())

    async def at_terminal(self, *words: str, **env: str) -> Said:
        """With standard output in a pipe and the rest on a terminal of 80 columns."""
        ours, theirs = pty.openpty()
        try:
            process = await self._start(words, env, theirs)
        finally:
            os.close(theirs)
        seen = asyncio.create_task(asyncio.to_thread(_read_all, ours))
        try:
            out, _ = await process.communicate()
            err = await seen
        finally:
            os.close(ours)
        assert process.returncode is not None
        return Said(process.returncode, out.decode(), err.decode())

    async def _start(self, words: tuple[str, ...], env: dict[str, str], errors: int) -> asyncio.subprocess.Process:
        plain = {"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
        config = [] if self._config is None else ["--config", str(self._config)]
        command = [*PROXY, *words, *config]
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=errors, env={**plain, **env}
        )


def _read_all(terminal: int) -> bytes:
    """Until nobody holds the other end any more."""
    seen = b""
    try:
        while piece := os.read(terminal, 1 << 16):
            seen += piece
    except OSError:  # EIO is how Linux says so
        pass
    return seen


def newest(count: int) -> dict[str, Any]:
    selection = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": count}
    return {"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]}


@pytest.fixture
async def entrepot(tmp_path: Path, upstream: FaultUpstream) -> AsyncIterator[Site]:
    """Holds two images, of which the policy keeps the newer."""
    settings = {"lifecycle": [{"repositories": [f"{NAME}/*"], "policy": newest(1)}]}
    async with site(tmp_path, upstream.url, settings) as running:
        pulled: set[Digest] = set()
        for tag in ("v1", "v2"):
            image = put_image(upstream, tag, *(f"layer {number} of {tag}".encode() * 1000 for number in range(3)))
            paths = manifest_path(tag), *map(blob_path, image.parts)
            replies = await asyncio.gather(*map(running.get, paths))
            assert {reply.status for reply in replies} == {200}
            await settled(running, pulled := pulled | image.all)
        yield running
        await running.stop()


async def settled(running: Site, pulled: set[Digest]) -> None:
    """All that was pulled is held, by its own account too."""
    async with asyncio.timeout(20):
        while (held := stored(running.folder)).keys() != pulled or await committed(running) != sum(held.values()):
            await asyncio.sleep(0.01)


async def committed(running: Site) -> int:
    size: int = json.loads((await running.ask_admin("/api/v1/status")).body)["cache"]["committed_bytes"]
    return size


@pytest.fixture
def person(tmp_path: Path, entrepot: Site) -> Person:
    config = tmp_path / "person.yaml"
    config.write_text(yaml.safe_dump({"admin": f"127.0.0.1:{entrepot.admin}"}))
    return Person(config)


async def test_a_verification_in_a_pipe_says_its_result_and_nothing_else(person: Person) -> None:
    said = await person("verify")
    assert (said.status, said.err) == (0, "")
    [line] = said.out.splitlines()
    assert line.startswith("10 contents, ")
    assert line.endswith(" read, 0 bad")
    said = await person("verify", "--json", FORCE_COLOR="1")
    assert said.status == 0
    assert json.loads(said.out)["summary"]["contents"] == 10


async def test_a_verification_at_a_terminal_has_a_bar_that_gets_to_its_end_and_leaves_the_output_alone(
    person: Person,
) -> None:
    said = await person.at_terminal("verify", "--json")
    assert said.status == 0
    assert json.loads(said.out)["bad"] == []
    assert ESCAPE not in said.out
    size = json.loads(said.out)["summary"]["bytes"]
    last = [line for line in said.err.splitlines() if "verifying" in line][-1]
    assert "100%" in last
    assert f"{size}/{size}" in last


async def test_a_slow_verification_says_how_far_it_is_about_once_a_second(entrepot: Site) -> None:
    async with await Client.connect(entrepot.admin) as client:
        wish = json.dumps({"rate": 50_000}).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(wish)), "Connection": "close"}
        await client.send(request("/api/v1/verify", headers, "POST") + wish)
        events = [json.loads(line) for line in (await client.reply()).body.splitlines()]
    *told, last = events
    shown = [event["progress"]["bytes"] for event in told]
    assert shown == sorted(set(shown))
    assert 50_000 <= shown[0] < last["summary"]["bytes"] < 150_000


async def test_a_dumb_terminal_gets_no_control_sequences(person: Person) -> None:
    for words in (["verify"], ["lifecycle", "preview"]):
        said = await person.at_terminal(*words, TERM="dumb")
        assert said.status == 0
        assert ESCAPE not in said.out + said.err


@pytest.mark.parametrize("order", ["preview", "apply"])
async def test_an_order_about_policies_in_a_pipe_says_its_result_and_nothing_else(person: Person, order: str) -> None:
    said = await person("lifecycle", order)
    assert (said.status, said.err) == (0, "")
    header, row, summary = said.out.splitlines()
    assert header.split() == ["REPOSITORY", "IMAGE", "TAGS", "PUSHED", "RULE", "ACTION", "SIZE"]
    assert row.split()[0] == f"{NAME}/{APP}"
    assert summary.startswith("1 of 2 images in 1 repositories, ")


@pytest.mark.parametrize("order", ["preview", "apply"])
async def test_an_order_about_policies_at_a_terminal_shows_that_it_works_and_wipes_that_away(
    person: Person, order: str
) -> None:
    said = await person.at_terminal("lifecycle", order, "--json")
    assert said.status == 0
    assert json.loads(said.out)["summary"]["expired"] == 1
    assert "looking at the images" in said.err
    assert said.err.rstrip().endswith(f"{ESCAPE}[2K"), "the line is erased"


async def test_json_in_a_pipe_is_clean_where_colour_is_forced(person: Person) -> None:
    said = await person("lifecycle", "preview", "--json", FORCE_COLOR="1")
    assert said.status == 0
    assert [result["imageTags"] for result in json.loads(said.out)["previewResults"]] == [["v1"]]


async def test_an_order_that_is_refused_says_so_and_shows_no_result(person: Person) -> None:
    said = await person("verify", "--rate", "fast", "--json")
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("rate: ")
