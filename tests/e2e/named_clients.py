"""Clients that have no mirrors: they name the proxy in front of the image. Built with Go where they are not there."""

import tarfile
from pathlib import Path

from tests.e2e.clients import Reference
from tests.e2e.images import unpacked
from tests.process import run
from tests.zoo.real.builds import CRANE, built

ORAS = ("oras.land/oras/cmd/oras", "v1.3.6")
REGCTL = ("github.com/regclient/regclient/cmd/regctl", "v0.11.7")


def crane(store: Path, proxy: str, image: Reference, file: str) -> bytes:
    run([str(built(CRANE)), "export", "--insecure", f"{proxy}/{image}", str(store / "files.tar")])
    with tarfile.open(store / "files.tar") as archive:
        content = archive.extractfile(file)
        assert content is not None
        return content.read()


def oras(store: Path, proxy: str, image: Reference, file: str) -> bytes:
    copy = [str(built(ORAS)), "copy", "--no-tty", "--from-plain-http", f"{proxy}/{image}"]
    run([*copy, "--to-oci-layout", f"{store / 'out'}:{image.tag}"])
    return unpacked(store / "out", image.tag, file)


def regctl(store: Path, proxy: str, image: Reference, file: str) -> bytes:
    host = ["--host", f"reg={proxy},tls=disabled"]
    run([str(built(REGCTL)), *host, "image", "copy", f"{proxy}/{image}", f"ocidir://{store / 'out'}:{image.tag}"])
    return unpacked(store / "out", image.tag, file)
