"""What strangers write is refused, bounded in memory and time, and the honest image beside it is taken."""

import json
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.bundles.cast import Parcel
from tests.bundles.hostile import HOSTILE
from tests.process import PROXY, Entrepot, proxying

CASES = {f"{number:02}": hostile for number, hostile in enumerate(HOSTILE)}
MEMORY = 512 << 20  # bytes of address space beside what Python itself takes
PATIENCE = 60.0  # seconds, on a machine that is busy


class Imported(NamedTuple):
    """One command that was given all of them."""

    entrepot: Entrepot
    folder: Path
    said: dict[str, Any]
    manifests: dict[str, str]  # digest of the honest image, by case


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imported]:
    folder = tmp_path_factory.mktemp("hostile")
    paths, manifests = [], {}
    for key, hostile in CASES.items():
        parcel, own = Parcel(key), folder / key
        own.mkdir()
        good = parcel.image(f"the layer of {key}".encode())
        parcel.tag(f"docker.io/good/app{key}:v1", good)
        manifests[key] = good["digest"]
        made = hostile.make(parcel, own)
        path = own / "bundle" if isinstance(made, bytes) else made
        if isinstance(made, bytes):
            path.write_bytes(made)
        paths.append(str(path))
    with proxying(folder / "site", {"docker.io": {"url": "http://127.0.0.1:9"}}, offline=True) as entrepot:
        before = seen(folder)
        command = [*PROXY, "import", *paths, "--json", "--admin", f"127.0.0.1:{entrepot.admin}"]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False, preexec_fn=bounded
        )
        assert (done.returncode, done.stderr) == (1, "")
        assert "\x1b" not in done.stdout
        assert "\\u001b" not in done.stdout
        assert seen(folder) == before, "nothing is written where the bundles are"
        assert not Path("/tmp/evil").exists()
        yield Imported(entrepot, folder, json.loads(done.stdout), manifests)


def bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def seen(folder: Path) -> set[str]:
    """All but what the proxy keeps."""
    return {str(path) for path in folder.rglob("*") if folder / "site" not in path.parents}


@pytest.mark.parametrize("key", CASES, ids=[hostile.what for hostile in HOSTILE])
def test_it_is_refused_and_what_is_honest_beside_it_is_taken(imported: Imported, key: str) -> None:
    evil, good = pulled(imported, f"evil/app{key}", "v1"), pulled(imported, f"good/app{key}", "v1")
    assert evil != 200
    assert (good == 200) is CASES[key].good
    if not CASES[key].good:
        assert pulled(imported, f"good/app{key}", imported.manifests[key]) != 200


def pulled(imported: Imported, repository: str, reference: str) -> int:
    return imported.entrepot.get(f"/v2/docker.io/{repository}/manifests/{reference}").status


def test_everyone_is_told_what_was_wrong_with_his(imported: Imported) -> None:
    said = json.dumps(imported.said)
    silent = [
        hostile.what
        for key, hostile in CASES.items()
        if f"/{key}/" not in said and f"app{key}" not in said and not hostile.good
    ]
    assert not silent


def test_nothing_of_it_is_held_under_a_digest_that_is_not_its_own(imported: Imported) -> None:
    from tests.scenarios.invariants import stored

    held = stored(imported.entrepot.cache)
    assert held
    assert not any((imported.entrepot.cache / "ingest").iterdir())
