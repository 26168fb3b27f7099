"""Killed at any point, and run again: it finishes, and nothing is ever half there."""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.core.names import Digest
from tests.bundles.cast import Parcel
from tests.bundles.conftest import UPSTREAMS, Site
from tests.bundles.test_way import serves
from tests.process import PROXY, Entrepot
from tests.scenarios.invariants import stored

LAYERS, SIZE = 8, 3 << 20
BYTES = LAYERS * SIZE


@pytest.fixture
def parcel(mine: str) -> Parcel:
    made, source = Parcel(), random.Random(mine)
    layers = [source.randbytes(SIZE) for _ in range(LAYERS)]
    made.tag(f"docker.io/{mine}/app:v1", made.image(*layers[: LAYERS // 2]))
    made.tag(f"docker.io/{mine}/app:v2", made.image(*layers[LAYERS // 2 :]))
    return made


def killed_when(site: Entrepot, reached: Callable[[], bool], *words: object) -> bool:
    """A command that is killed once that is so; False where it was done before."""
    argv = [*PROXY, *map(str, words), "--admin", f"127.0.0.1:{site.admin}"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            if reached():
                process.send_signal(signal.SIGKILL)
                return process.wait() == -signal.SIGKILL
            time.sleep(0.002)
    return False


def size_of(folder: Path) -> int:
    """Bytes of all files below."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(root, name)).st_size
    return total


def points(count: int) -> list[int]:
    """Bytes that are written when it is killed; others at each run."""
    return sorted(random.randrange(1, BYTES) for _ in range(count))


@pytest.mark.parametrize("form", ["b", "b.tar", "b.tar.zst"])
def test_an_export_that_was_killed_is_carried_on(
    form: str, near: Site, far: Site, parcel: Parcel, mine: str, tmp_path: Path
) -> None:
    near.does("import", parcel.folder(tmp_path / "made"))
    out = tmp_path / "out"
    out.mkdir()
    kills = 0
    for point in points(2):
        export = "export", f"docker.io/{mine}/*", "--to", out / form
        kills += killed_when(near.entrepot, lambda point=point: size_of(out) > point, *export)  # type: ignore[misc]  # at once
        assert not (out / form).is_file(), "it has its name only when it is whole"
    assert kills
    near.does("export", f"docker.io/{mine}/*", "--to", out / form)
    far.does("import", out / form)
    serves(far, parcel)
    assert not [path.name for path in out.rglob("*") if path.suffix in (".part", ".journal")]


def test_an_import_that_was_killed_is_carried_on_and_no_image_is_half_there(
    far: Site, parcel: Parcel, mine: str, tmp_path: Path
) -> None:
    made, before = parcel.folder(tmp_path / "made"), size_of(far.entrepot.cache)
    kills = 0
    for point in points(2):
        reached = lambda point=point: size_of(far.entrepot.cache) > before + point  # noqa: E731
        kills += killed_when(far.entrepot, reached, "import", made)
        whole(far, parcel, mine)
    assert kills
    far.does("import", made)
    serves(far, parcel)
    wait_for_nothing_half_born(far.entrepot)


def test_a_proxy_that_was_killed_while_it_took_images_in_has_none_that_is_half_there(
    parcel: Parcel, mine: str, tmp_path: Path
) -> None:
    made = parcel.folder(tmp_path / "made")
    entrepot = Entrepot(tmp_path / "site", {"upstreams": UPSTREAMS, "offline": True})
    try:
        for point in points(2):
            entrepot.start()
            site = Site(entrepot)
            argv = [*PROXY, "import", str(made), "--admin", f"127.0.0.1:{entrepot.admin}"]
            with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as command:
                while command.poll() is None and size_of(entrepot.cache) < point:
                    time.sleep(0.002)
                entrepot.process.kill()
                _, said = command.communicate(timeout=30)
            assert b"Traceback" not in said
            stored(entrepot.cache)
        entrepot.start()
        site = Site(entrepot)
        whole(site, parcel, mine)
        site.does("import", made)
        serves(site, parcel)
    finally:
        entrepot.dispose()


def whole(site: Site, parcel: Parcel, mine: str) -> None:
    """Each image is there with all that it needs, or is not there."""
    for descriptor, tag in zip(parcel.tagged, ("v1", "v2"), strict=True):
        by_tag, by_digest = (site.manifest(f"{mine}/app", each) for each in (tag, descriptor["digest"]))
        if 200 in (by_tag.status, by_digest.status):
            one = Parcel()
            one.blobs, one.tagged = parcel.blobs, [descriptor]
            if by_tag.status == 200:
                serves(site, one)
            assert all(digest in stored(site.entrepot.cache) for digest in parts(parcel, descriptor["digest"]))


def parts(parcel: Parcel, digest: str) -> list[Digest]:
    import json

    document = json.loads(parcel.blobs[Digest.parse(digest)])
    return [Digest.parse(each["digest"]) for each in (document["config"], *document["layers"])]


def wait_for_nothing_half_born(entrepot: Entrepot) -> None:
    deadline = time.monotonic() + 10
    while any((entrepot.cache / "ingest").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
