"""The same scenes with registries as they are: distribution 2.8 of Debian, crane's, distribution 3.

olareg and zot are not among them: their modules are not to be had from the Go module proxy everywhere.
"""

import http.client
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.ports import free_port
from tests.process import Answer, Entrepot, Process, get, listens, proxying, running
from tests.zoo.real.builds import CRANE, DISTRIBUTION_3, built
from tests.zoo.real.push import Pushed, push_image

pytestmark = pytest.mark.timeout(900)

NAME = "registry.test"
APP = "team/app"
TAGS = [f"v{number:03d}" for number in range(130)]

Command = Callable[[int, Path], Sequence[str]]  # from a port and a folder for its files


def debian(port: int, folder: Path) -> Sequence[str]:
    if shutil.which("docker-registry") is None:
        pytest.skip("needs docker-registry (apt-get install; see tests/run)")
    return ["docker-registry", "serve", str(_configured(port, folder))]


def crane(port: int, folder: Path) -> Sequence[str]:
    return [str(built(CRANE)), "registry", "serve", "--address", f"127.0.0.1:{port}"]


def distribution3(port: int, folder: Path) -> Sequence[str]:
    return [str(built(DISTRIBUTION_3)), "serve", str(_configured(port, folder))]


def _configured(port: int, folder: Path) -> Path:
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "of no importance"},
    }
    path = folder / "registry.yml"
    path.write_text(yaml.safe_dump(settings))
    return path


class Rig(NamedTuple):
    registry: Process
    port: int  # of the registry
    entrepot: Entrepot


@pytest.fixture(scope="module", params=[debian, crane, pytest.param(distribution3, marks=pytest.mark.heavy)])
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A registry, and an Entrepot in front of it that asks about tags at each pull."""
    folder, port = tmp_path_factory.mktemp("real"), free_port()
    command: Command = request.param
    argv = command(port, folder)
    upstreams, more = {NAME: {"url": f"http://127.0.0.1:{port}"}}, {"tags": {"ttl": "0s"}}
    with (
        running(argv, folder / "registry.log", lambda: listens(port)) as registry,
        proxying(folder / "entrepot", upstreams, **more) as entrepot,
    ):
        yield Rig(registry, port, entrepot)


def outcome(answer: Answer) -> str:
    return answer.headers["cache-status"].removeprefix("entrepot; ")


def pull(rig: Rig, image: Pushed, name: str, tag: str) -> list[str]:
    """All of it, by tag; what ``Cache-Status`` said."""
    answers = [rig.entrepot.get(f"/v2/{NAME}/{name}/manifests/{tag}")]
    assert (answers[0].status, answers[0].body) == (200, image.raw), answers[0]
    assert answers[0].headers["docker-content-digest"] == image.digest
    for digest, content in image.blobs.items():
        answers.append(rig.entrepot.get(f"/v2/{NAME}/{name}/blobs/{digest}"))
        assert (answers[-1].status, answers[-1].body) == (200, content)
    return [outcome(answer) for answer in answers]


def test_a_cold_pull_is_stored_and_a_warm_one_is_held(rig: Rig) -> None:
    image = push_image(rig.port, f"{APP}/warm", "v1")
    assert pull(rig, image, f"{APP}/warm", "v1") == ["fwd=miss; stored"] * 3
    settled(rig.entrepot)
    assert pull(rig, image, f"{APP}/warm", "v1") == ["fwd=stale", "hit", "hit"]


def test_the_size_of_a_cold_blob_is_known_without_its_bytes(rig: Rig) -> None:
    image = push_image(rig.port, f"{APP}/sized", "v1")
    for digest, content in image.blobs.items():
        connection = http.client.HTTPConnection("127.0.0.1", rig.entrepot.port, timeout=60)
        connection.request("HEAD", f"/v2/{NAME}/{APP}/sized/blobs/{digest}")
        response = connection.getresponse()
        assert (response.status, response.headers["Content-Length"]) == (200, str(len(content)))
        connection.close()


@pytest.mark.parametrize("n", [None, 50, 10_000], ids=["no n", "n=50", "n=10000"])
def test_whoever_follows_the_links_reads_every_tag_once(rig: Rig, n: int | None) -> None:
    """crane's registry cuts its list at ``n`` and gives no link to the rest: so nobody reads on there."""
    name = f"{APP}/tags-{n or 'all'}"
    push_image(rig.port, name, *TAGS)
    path: str | None = f"/v2/{NAME}/{name}/tags/list{f'?n={n}' if n else ''}"
    read, pages = list[str](), 0
    while path is not None and pages < 20:
        answer = rig.entrepot.get(path)
        assert answer.status == 200, answer
        read += json.loads(answer.body)["tags"]
        pages += 1
        path = answer.headers["link"].partition("<")[2].partition(">")[0] if "link" in answer.headers else None
    whole = n != 50 or not _cut_without_a_link(rig, name)
    assert sorted(read) == (TAGS if whole else TAGS[:50])
    assert pages == (3 if whole and n == 50 else 1)


def _cut_without_a_link(rig: Rig, name: str) -> bool:
    answer = get(rig.port, f"/v2/{name}/tags/list?n=50")
    return len(json.loads(answer.body)["tags"]) < len(TAGS) and "link" not in answer.headers


def test_referrers_are_an_index_or_none(rig: Rig) -> None:
    image = push_image(rig.port, f"{APP}/referred", "v1")
    answer = rig.entrepot.get(f"/v2/{NAME}/{APP}/referrers/{image.digest}")
    assert answer.status in {200, 404}
    if answer.status == 200:
        assert json.loads(answer.body)["manifests"] == []


def test_what_is_not_there_is_absent(rig: Rig) -> None:
    answer = rig.entrepot.get(f"/v2/{NAME}/{APP}/nowhere/manifests/v1")
    assert answer.status == 404
    assert json.loads(answer.body)["errors"][0]["code"] in {"MANIFEST_UNKNOWN", "NAME_UNKNOWN"}


def test_what_is_held_is_served_when_the_registry_is_gone(rig: Rig) -> None:
    """The last scene: some of these registries forget everything."""
    image = push_image(rig.port, f"{APP}/stale", "v1")
    pull(rig, image, f"{APP}/stale", "v1")
    settled(rig.entrepot)
    rig.registry.stop()
    assert not listens(rig.port)
    assert pull(rig, image, f"{APP}/stale", "v1") == ["hit; detail=stale", "hit", "hit"]


def settled(entrepot: Entrepot) -> None:
    """What has been sent is held: a blob is committed behind its last byte."""
    while json.loads(get(entrepot.admin, "/api/v1/status").body)["fills"]["arriving"]:
        time.sleep(0.01)
