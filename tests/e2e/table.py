"""What the user of each client reads, as Markdown from a real run: ``python -m tests.e2e.table > docs/clients.md``.

Clients with files of their own get those that ``entrepot clients`` writes. Needs root, and what ``tests/run`` installs.
``--containerd FOLDER`` adds another containerd, and ``--buildkit FOLDER`` BuildKit, from the folder of their programs.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from proxy.cli import app
from tests.cast.registry import Registry
from tests.e2e import clients, named_clients
from tests.e2e.buildkit import buildkit_told
from tests.e2e.clients import Reference
from tests.e2e.cri import crictl_told
from tests.e2e.images import MANIFEST, Layout
from tests.e2e.scratch import scratch
from tests.process import Entrepot, ProcessFailed, proxying, run

NAME, CLOSED, FILE = "registry.test", "private.test", "etc/greeting"
APP = Reference(NAME, "library/app", "v1")
NOT_HELD = Reference(NAME, "library/other", "v1")
UNKNOWN = Reference(NAME, "library/app", "v9")
SECRET = Reference(CLOSED, "library/app", "v1")
OLD, NEW = b"as it was\n", b"as it is\n"
REGISTRIES = "etc/containers/registries.conf.d/50-entrepot.conf"
SCENES = ("cold", "warm", "unknown tag", "denied", "moved tag", "upstream down, held", "upstream down, not held")
_LONGEST = 500  # characters of a cell
_HEAD = """\
# What the user of a client reads

Made by `python -m tests.e2e.table`, from a real registry and these clients, with empty stores at each pull. The files
of containerd, Docker, podman, skopeo and BuildKit are those of `entrepot clients KIND --fallback no`; the others name
the proxy: `entrepot:5000/registry.test/library/app:v1`. With `--fallback yes`, the default, clients ask the registry
itself after a refusal and show its answer or both; Docker with a mirror always does, here without a way to Docker Hub.

`registry.test` has `library/app:v1`; `private.test` wants a login that this cache does not have. A failure is shown by
the last line that the client says. `…` behind `request` is the id under which the log of the cache has the rest."""
_HTPASSWD = "puller:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n"


Pull = Callable[[Path, Path, str, Reference], bytes]
"""(empty store, root of its files, proxy's address, image) to the content of ``FILE``. Raises ProcessFailed."""


class Way(NamedTuple):
    """A client, the kind of files that it reads (none: it names the proxy), and how it pulls with them."""

    name: str
    kind: str
    pull: Pull
    hub: bool = False  # has mirrors of Docker Hub only


def _named(pull: clients.Pull) -> Pull:
    return lambda store, _, proxy, image: pull(store, proxy, image, FILE)


def _told(
    pull: Callable[[Path, Path, Reference, str], bytes], at: str
) -> Callable[[Path, Path, str, Reference], bytes]:
    return lambda store, root, _, image: pull(store, root / at, image, FILE)


def _mirrored(store: Path, root: Path, _: str, image: Reference) -> bytes:
    return clients.docker_told(store, root / "etc/docker/daemon.json", str(image), FILE)


CONTAINERD = Way(
    "containerd {version}, `ctr --hosts-dir`", "containerd", _told(clients.containerd_told, "etc/containerd/certs.d")
)
KUBERNETES = Way(
    "containerd {version} as Kubernetes asks it, `crictl pull`",
    "containerd",
    _told(crictl_told, "etc/containerd/certs.d"),
)
BUILDKIT = Way("buildkit, base image of a build", "buildkit", _told(buildkit_told, "etc/buildkit/buildkitd.toml"))
WAYS = (
    CONTAINERD,
    KUBERNETES,
    Way("docker {version}, mirror of Docker Hub", "docker", _mirrored, hub=True),
    Way("docker {version}, by name", "", _named(clients.docker_by_path)),
    Way("podman {version}", "podman", _told(clients.podman_told, REGISTRIES)),
    Way("skopeo {version}", "podman", _told(clients.skopeo_told, REGISTRIES)),
    Way("crane, by name", "", _named(named_clients.crane)),
    Way("oras, by name", "", _named(named_clients.oras)),
    Way("regctl, by name", "", _named(named_clients.regctl)),
)


class Stage:
    """An upstream with an image under a tag that moves, another that wants a password, and what is between."""

    def __init__(self, folder: Path) -> None:
        layout = Layout(folder / "layout")
        for name, content in (("old", OLD), ("new", NEW)):
            layout.tag(name, layout.image([layout.layer({FILE: content})]))
        (folder / "htpasswd").write_text(_HTPASSWD)
        auth = {"htpasswd": {"realm": "basic", "path": str(folder / "htpasswd")}}
        self.open = Registry(folder / "open", folder / "storage")
        self.closed = Registry(folder / "closed", folder / "storage", {"auth": auth})
        self._layout = layout

    def fill(self) -> None:
        for repository, tag, name in (("app", "v1", "old"), ("app", "next", "new"), ("other", "v1", "old")):
            target = f"docker://{self.open.address}/library/{repository}:{tag}"
            layout = f"oci:{self._layout.folder}:{name}"
            run(["skopeo", "copy", "--dest-tls-verify=false", "--preserve-digests", layout, target])

    def points_to(self, name: str) -> None:
        """Where the tag of ``APP`` points from now on."""
        index = (self._layout.folder / "index.json").read_text()
        entries = {e["annotations"]["org.opencontainers.image.ref.name"]: e for e in json.loads(index)["manifests"]}
        raw = self._layout.read(entries[name]["digest"])
        self.open.put_manifest(APP.repository, APP.tag, MANIFEST, raw)


def scenes(way: Way, stage: Stage, folder: Path) -> Iterator[str]:
    """What the user reads, in the order of ``SCENES``."""
    names = {NAME: {"url": f"http://{stage.open.address}"}, CLOSED: {"url": f"http://{stage.closed.address}"}}
    names["docker.io"] = names[NAME]
    stage.points_to("old")
    with proxying(folder / "entrepot", names, tags={"ttl": "0s", "negative_ttl": "0s"}) as proxy, scratch() as stores:
        if way.kind:
            _write(proxy, way.kind, folder / "root")
        count = iter(range(100))

        def reads(image: Reference, expected: bytes) -> str:
            store = stores / str(next(count))
            store.mkdir()
            named = image._replace(registry="docker.io") if way.hub else image
            try:
                found = way.pull(store, folder / "root", proxy.address, named)
            except ProcessFailed as failure:
                return _shortened(str(failure), {proxy.address: "entrepot:5000", stage.open.address: "upstream:5000",
                                                 stage.closed.address: "upstream:5000", str(store): "…"})  # fmt: skip
            return "pulled" if found == expected else f"**pulled what is wrong**: {found!r}"

        yield reads(APP, OLD)
        yield reads(APP, OLD)
        yield reads(UNKNOWN, b"")
        yield "not asked: the mirror is of Docker Hub" if way.hub else reads(SECRET, b"")
        stage.points_to("new")
        yield reads(APP, NEW)
        stage.open.stop()
        try:
            yield reads(APP, NEW)
            yield reads(NOT_HELD, b"")
        finally:
            stage.open.start()


def _write(proxy: Entrepot, kind: str, root: Path) -> None:
    root.mkdir()
    at = ["--address", f"http://{proxy.address}", "--config", str(proxy.config), "--write", str(root)]
    done = CliRunner().invoke(app, ["clients", kind, *at, "--fallback", "no"])
    assert done.exit_code == 0, done.output


def _shortened(text: str, names: dict[str, str]) -> str:
    """The last line of what was said, without the time and the colours of a log."""
    for name, word in names.items():
        text = text.replace(name, word)
    lines = [line for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines() if line.strip()]
    said = re.sub(r'^time="[^"]*" level=\w+ msg=', "", lines[-1]).strip().strip('"').replace("\\", "")
    said = re.sub(r"(request\W{1,4})[0-9a-f]{12}", r"\1…", said)
    said = re.sub(r" on [0-9.]+:53", "", said).replace("|", "\\|")
    return f"`{said[:_LONGEST]}`"


def _version(program: str) -> str:
    found = re.search(r"\d+\.\d+(\.\d+)?", run([program, "--version"]).decode())
    return found[0] if found else ""


@contextmanager
def _first_on_path(folder: str) -> Iterator[None]:
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{folder}{os.pathsep}{before}" if folder else before
    try:
        yield
    finally:
        os.environ["PATH"] = before


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.table")
    parser.add_argument("--containerd", default="", metavar="FOLDER")
    parser.add_argument("--buildkit", default="", metavar="FOLDER")
    parser.add_argument("--only", default="", help="clients whose name has this")
    asked = parser.parse_args(words)
    more = [(asked.containerd, CONTAINERD), (asked.buildkit, BUILDKIT)]
    ways = [("", way) for way in WAYS] + [each for each in more if each[0]]
    print(_HEAD)
    with tempfile.TemporaryDirectory(prefix="table-") as name:
        stage = Stage(Path(name))
        with stage.open.running(), stage.closed.running():
            stage.fill()
            for number, (programs, way) in enumerate(ways):
                if asked.only in way.name:
                    with _first_on_path(programs):
                        _print_row(way, stage, Path(name) / str(number))


def _print_row(way: Way, stage: Stage, folder: Path) -> None:
    words = way.name.split()[0]
    title = way.name.format(version=_version("dockerd" if words == "docker" else words) if "{" in way.name else "")
    print(f"\n## {title}\n\n| | what the user reads |\n|---|---|", flush=True)
    try:
        for scene, read in zip(SCENES, scenes(way, stage, folder), strict=True):
            print(f"| {scene} | {read} |", flush=True)
    except pytest.skip.Exception as why:
        print(f"| all | not run: {why} |")


if __name__ == "__main__":
    main(sys.argv[1:])
