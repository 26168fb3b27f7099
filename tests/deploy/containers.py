"""The image of ``deploy/Dockerfile``, built by buildah on a Debian from debootstrap, and containers of it by runc."""

import gzip
import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.process import Process, run
from tests.zoo.real.builds import CACHE

CHECKOUT = Path(__file__).parents[2]
CA_FILE = Path("/etc/ssl/certs/ca-certificates.crt")
UNNEEDED = (
    "./var/cache/apt",
    "./var/lib/apt/lists",
    "./dev",
    "./usr/share/doc",
    "./usr/share/man",
    "./usr/share/locale",
)
_BASE, _BUILT = "localhost/entrepot-base", "localhost/entrepot"


def base() -> Path:
    """An archive of Debian 12 with Python, made once; what Debian's own slim images leave out is left out."""
    archive = CACHE.parent / "debian-12-python.tar"
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as made:
            packages = "--include=python3,python3-venv,ca-certificates"
            run(["debootstrap", "--variant=minbase", packages, "bookworm", f"{made}/root"], patience=900)
            left_out = [f"--exclude=./{path}" for path in UNNEEDED]
            run(["tar", "--create", f"--file={made}/tar", f"--directory={made}/root", *left_out, "."])
            Path(f"{made}/tar").replace(archive)
    return archive


class Image(NamedTuple):
    root: Path  # its files, unpacked
    compressed: int  # bytes
    config: Mapping[str, Any]  # of the Docker image specification: Env, User, Entrypoint, …

    @property
    def variables(self) -> dict[str, str]:
        return dict(each.split("=", 1) for each in self.config["Env"])


def built(folder: Path) -> Image:
    """As the Dockerfile says to. Raises ProcessFailed."""
    store = [f"--root={folder}/store", f"--runroot={folder}/run", "--storage-driver=vfs"]

    def buildah(*words: str) -> str:
        return run(["buildah", *store, *words], patience=900).decode().strip()

    empty = buildah("from", "scratch")
    buildah("add", "--quiet", empty, str(base()), "/")
    buildah("commit", "--quiet", empty, _BASE)
    buildah("rm", empty)
    reach = ["--isolation=chroot", "--network=host", f"--volume={CA_FILE}:{CA_FILE}:ro"]
    of = [f"--build-arg=BASE={_BASE}", f"--file={CHECKOUT}/deploy/Dockerfile", f"--tag={_BUILT}"]
    buildah("build", "--format=docker", *reach, *of, str(CHECKOUT))
    buildah("push", "--quiet", _BUILT, f"oci:{folder}/layout:it")
    buildah("push", "--quiet", _BUILT, f"dir:{folder}/docker")  # whose configuration has the health check
    return _unpacked(folder)


def _unpacked(folder: Path) -> Image:
    def read(digest: str, of: Path) -> Any:
        return json.loads((of / digest.removeprefix("sha256:")).read_bytes())

    blobs, root = folder / "layout/blobs/sha256", folder / "root"
    [described] = json.loads((folder / "layout/index.json").read_bytes())["manifests"]
    layers = read(described["digest"], blobs)["layers"]
    for layer in layers:
        with gzip.open(blobs / layer["digest"].removeprefix("sha256:")) as plain, tarfile.open(fileobj=plain) as tar:
            tar.extractall(root, filter="tar")
    docker = json.loads((folder / "docker/manifest.json").read_bytes())
    config = read(docker["config"]["digest"], folder / "docker")["config"]
    return Image(root, sum(layer["size"] for layer in layers), config)


class Rights(NamedTuple):
    """Of who runs in it: the root is read only, and no program gives any more of them."""

    user: int
    capabilities: Sequence[str] = ()


class Containers:
    """Of one image, in a folder of their own; the network is the host's."""

    def __init__(self, image: Image, folder: Path, mounts: Mapping[str, Path], env: Mapping[str, str]) -> None:
        self._image = image
        self._folder = folder
        self._mounts = mounts
        self._env = {**image.variables, **env}
        self._names = iter(range(1000))

    def run(self, command: Sequence[str], rights: Rights) -> str:
        """Raises ProcessFailed."""
        return run(self._argv(command, rights)).decode()

    @contextmanager
    def running(
        self, command: Sequence[str], rights: Rights, log: Path, ready: Callable[[], bool]
    ) -> Iterator[Callable[..., str]]:
        """Gives what runs a further command in it. Raises ProcessFailed, also where it does not end well."""
        argv = self._argv(command, rights)
        process = Process(argv, log)
        try:
            process.wait_until(ready, patience=120)
            yield lambda *words: run(["runc", *self._state, "exec", argv[-1], *words]).decode()
            assert process.stop(patience=60) == 0, log.read_text()
        finally:
            process.kill()

    @property
    def _state(self) -> list[str]:
        return ["--root", str(self._folder / "state")]

    def _argv(self, command: Sequence[str], rights: Rights) -> list[str]:
        name = f"entrepot-{os.getpid()}-{next(self._names)}"
        bundle = self._folder / name
        bundle.mkdir(parents=True)
        (bundle / "config.json").write_text(json.dumps(self._specified(command, rights)))
        return ["runc", *self._state, "run", "--bundle", str(bundle), name]

    def _specified(self, command: Sequence[str], rights: Rights) -> Mapping[str, Any]:
        """OCI runtime-spec, config.json."""
        sets, capabilities = ("bounding", "effective", "permitted"), [f"CAP_{each}" for each in rights.capabilities]
        binds = [
            {"destination": inside, "source": str(path), "options": ["bind", "rw" if path.is_dir() else "ro"]}
            for inside, path in self._mounts.items()
        ]
        return {
            "ociVersion": "1.0.2",
            "process": {
                "args": list(command),
                "cwd": "/",
                "env": [f"{name}={value}" for name, value in self._env.items()],
                "user": {"uid": rights.user, "gid": rights.user},
                "capabilities": {each: capabilities for each in sets},
                "noNewPrivileges": True,
            },
            "root": {"path": str(self._image.root), "readonly": True},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                *binds,
            ],
            "linux": {"namespaces": [{"type": each} for each in ("mount", "pid", "ipc", "uts")]},
        }
