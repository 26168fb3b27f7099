"""Bundles of real clients are imported, and ours are read by them."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e import clients
from tests.e2e.clients import Reference
from tests.e2e.images import Layout, noise, unpacked
from tests.process import Entrepot, listens_on, proxying, run, running
from tests.zoo.real.builds import CRANE, built

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

NewStore = Callable[[], Path]
IMAGE = Reference("docker.io", "team/app", "v1")
GREETING = "etc/greeting"
HELLO = b"hello from a bundle\n"


@pytest.fixture
def layout(clients_installed: None, tmp_path: Path) -> Layout:
    """One image of two layers, under its full name."""
    made = Layout(tmp_path / "made")
    base = made.layer({"usr/share/noise": noise(1 << 20, 3), "etc/os-release": b"ID=nothing\n"})
    made.tag(str(IMAGE), made.image([base, made.layer({GREETING: HELLO})]))
    return made


@pytest.fixture
def offline(tmp_path: Path) -> Iterator[Entrepot]:
    """Has nothing but what is imported: its registry is nowhere."""
    nowhere = {IMAGE.registry: {"url": "http://127.0.0.1:9"}}
    with proxying(tmp_path / "entrepot", nowhere, default_upstream=IMAGE.registry, offline=True) as entrepot:
        yield entrepot


def podman(store: Path, *words: str) -> bytes:
    base = ["podman", "--root", str(store / "root"), "--runroot", str(store / "run"), "--tmpdir", str(store / "tmp")]
    base += ["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]
    return run([*base, *words], {"HOME": str(store)})


@contextmanager
def docker(store: Path) -> Iterator[Callable[..., bytes]]:
    socket = store / "docker.sock"
    config = store / "daemon.json"
    config.write_text("{}")
    argv = ["dockerd", "--config-file", str(config), "--host", f"unix://{socket}"]
    argv += ["--data-root", str(store / "data"), "--exec-root", str(store / "exec"), "--pidfile", str(store / "pid")]
    argv += ["--storage-driver", "vfs", "--iptables=false", "--ip6tables=false", "--bridge=none"]
    with running(argv, store / "dockerd.log", lambda: listens_on(socket), patience=60):
        cli = ["docker", "--config", str(store / "config"), "--host", f"unix://{socket}"]
        yield lambda *words: run([*cli, *words])


def imported(entrepot: Entrepot, *words: str) -> None:
    said = entrepot.command("import", *words)
    assert said.returncode == 0, said.stdout + said.stderr


def exported(entrepot: Entrepot, to: Path) -> str:
    said = entrepot.command("export", str(IMAGE), "--to", str(to))
    assert said.returncode == 0, said.stdout + said.stderr
    return str(to)


def skopeo_copies(layout: Layout, target: str) -> None:
    run(["skopeo", "copy", "--quiet", f"oci:{layout.folder}:{IMAGE}", target])


SKOPEO: Mapping[str, str] = {"oci": "oci:{}", "oci-archive": "oci-archive:{}", "docker-archive": "docker-archive:{}"}


@pytest.mark.parametrize("form", SKOPEO)
def test_what_skopeo_wrote_is_imported_and_pulled(
    form: str, layout: Layout, offline: Entrepot, new_store: NewStore, tmp_path: Path
) -> None:
    path = tmp_path / f"skopeo.{form}"
    skopeo_copies(layout, f"{SKOPEO[form].format(path)}:{IMAGE}")
    imported(offline, str(path))
    assert clients.skopeo_by_path(new_store(), offline.address, IMAGE, GREETING) == HELLO
    assert clients.skopeo_by_mirror(new_store(), offline.address, IMAGE, GREETING) == HELLO


def test_a_layout_with_nothing_but_a_tag_needs_a_name(layout: Layout, offline: Entrepot, new_store: NewStore) -> None:
    out = new_store() / "out"
    run(["skopeo", "copy", "--quiet", f"oci:{layout.folder}:{IMAGE}", f"oci:{out}:v1"])
    refused = offline.command("import", str(out))
    assert refused.returncode == 1
    assert "--name" in refused.stdout
    imported(offline, str(out), "--name", f"{IMAGE.registry}/{IMAGE.repository}")
    assert clients.containerd(new_store(), offline.address, IMAGE, GREETING) == HELLO


def test_what_docker_saved_is_imported_and_pulled_packed_or_not(
    layout: Layout, offline: Entrepot, new_store: NewStore, tmp_path: Path
) -> None:
    skopeo_copies(layout, f"docker-archive:{tmp_path / 'in.tar'}:{IMAGE}")
    saved = tmp_path / "saved.tar"
    with docker(new_store()) as run_docker:
        run_docker("load", "--input", str(tmp_path / "in.tar"))
        run_docker("save", "--output", str(saved), str(IMAGE))
    run(["gzip", "--keep", str(saved)])
    run(["zstd", "-q", "--keep", str(saved)])
    for ending in ("", ".gz", ".zst"):
        imported(offline, f"{saved}{ending}")
    assert clients.docker_by_mirror(new_store(), offline.address, IMAGE, GREETING) == HELLO


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_what_podman_saved_is_imported_and_pulled(
    form: str, layout: Layout, offline: Entrepot, new_store: NewStore, tmp_path: Path
) -> None:
    skopeo_copies(layout, f"oci-archive:{tmp_path / 'in.tar'}:{IMAGE}")
    store = new_store()
    podman(store, "load", "--quiet", "--input", str(tmp_path / "in.tar"))
    podman(store, "save", "--quiet", "--format", form, "--output", str(tmp_path / "saved"), str(IMAGE))
    imported(offline, str(tmp_path / "saved"))
    assert clients.podman(new_store(), offline.address, IMAGE, GREETING) == HELLO


def test_ours_is_read_by_skopeo_podman_and_docker(
    layout: Layout, offline: Entrepot, new_store: NewStore, tmp_path: Path
) -> None:
    imported(offline, str(layout.folder))
    folder, archive = exported(offline, tmp_path / "folder"), exported(offline, tmp_path / "bundle.tar")
    for source in (f"oci:{folder}:{IMAGE}", f"oci-archive:{archive}:{IMAGE}", f"docker-archive:{archive}:{IMAGE}"):
        out = new_store() / "out"
        run(["skopeo", "copy", "--quiet", source, f"oci:{out}:v1"])
        assert unpacked(out, "v1", GREETING) == HELLO, source
    store = new_store()
    podman(store, "load", "--quiet", "--input", archive)
    mounted = podman(store, "image", "mount", str(IMAGE)).decode().strip()
    assert (Path(mounted) / GREETING).read_bytes() == HELLO
    podman(store, "image", "unmount", str(IMAGE))
    with docker(new_store()) as run_docker:
        run_docker("load", "--input", archive)
        container = run_docker("create", str(IMAGE)).decode().strip()
        with tarfile.open(fileobj=io.BytesIO(run_docker("cp", f"{container}:/{GREETING}", "-"))) as copied:
            content = copied.extractfile("greeting")
            assert content is not None
            assert content.read() == HELLO
    packed = exported(offline, tmp_path / "bundle.tar.zst")
    assert json.loads(run(["tar", "--zstd", "-xOf", packed, "oci-layout"]))["imageLayoutVersion"] == "1.0.0"


def test_ours_is_read_by_containerd_and_what_that_exports_by_us(
    layout: Layout, offline: Entrepot, new_store: NewStore, tmp_path: Path
) -> None:
    imported(offline, str(layout.folder))
    archive = exported(offline, tmp_path / "bundle.tar")
    store = new_store()
    with clients.containerd_running(store) as socket:
        ctr = ["ctr", "--address", str(socket), "images"]
        run([*ctr, "import", "--snapshotter", "native", archive])
        assert str(IMAGE).encode() in run([*ctr, "list", "--quiet"])
        run([*ctr, "export", str(tmp_path / "theirs.tar"), str(IMAGE)])
    imported(offline, str(tmp_path / "theirs.tar"))


def test_what_crane_pulled_is_imported_and_ours_is_read_by_it(
    layout: Layout, offline: Entrepot, new_store: NewStore, tmp_path: Path
) -> None:
    crane, pulled = str(built(CRANE)), tmp_path / "pulled"
    repository = f"{IMAGE.registry}/{IMAGE.repository}"
    imported(offline, str(layout.folder))
    run([crane, "validate", "--tarball", exported(offline, tmp_path / "bundle.tar")])
    run([crane, "pull", "--insecure", "--format", "oci", f"{offline.address}/{IMAGE}", str(pulled)])
    [entry] = json.loads((pulled / "index.json").read_bytes())["manifests"]
    by_digest = f"/v2/{repository}/manifests/{entry['digest']}"
    assert offline.command("purge", repository, "--yes").returncode == 0
    assert offline.get(by_digest).status == 404
    imported(offline, str(pulled), "--name", repository)
    assert offline.get(by_digest).status == 200
