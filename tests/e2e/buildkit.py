"""BuildKit, whose users read what their build says of its base image. Its programs are those on the path."""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.clients import Reference
from tests.process import listens_on, run, running


def buildkit_told(store: Path, config: Path, image: Reference, file: str) -> bytes:
    """By a ``buildkitd.toml`` that is there."""
    source, out = store / "source", store / "out.tar"
    source.mkdir()
    (source / "Dockerfile").write_text(f"FROM {image}\n")
    with _buildkitd(store, config) as address:
        build = ["buildctl", "--addr", address, "build", "--progress", "plain", "--frontend", "dockerfile.v0"]
        local = ["--local", f"context={source}", "--local", f"dockerfile={source}"]
        run([*build, *local, "--output", f"type=tar,dest={out}"])
    with tarfile.open(out) as archive:
        content = archive.extractfile(file)
        assert content is not None
        return content.read()


@contextmanager
def _buildkitd(store: Path, config: Path) -> Iterator[str]:
    socket = store / "buildkitd.sock"
    argv = ["buildkitd", "--config", str(config), "--addr", f"unix://{socket}", "--root", str(store / "root")]
    argv += ["--oci-worker-snapshotter", "native", "--oci-worker-net", "host", "--containerd-worker=false"]
    argv += ["--otel-socket-path", str(store / "otel.sock")]
    with running(argv, store / "buildkitd.log", lambda: listens_on(socket)):
        yield f"unix://{socket}"
