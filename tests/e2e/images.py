"""Images from nothing: an OCI image layout whose layers are real archives, so that every client can unpack them."""

import gzip
import io
import json
import os
import random
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from proxy.core.names import Digest

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"
MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)

Descriptor = dict[str, Any]


class Layout:
    """An OCI image layout on disk that grows by what is put into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tagged: list[Descriptor] = []
        (folder / "blobs/sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def put(self, content: bytes, media_type: str) -> Descriptor:
        digest = Digest.of(content)
        (self.folder / "blobs/sha256" / digest.encoded).write_bytes(content)
        return {"mediaType": media_type, "digest": str(digest), "size": len(content)}

    def layer(self, files: Mapping[str, bytes]) -> tuple[Descriptor, Digest]:
        """A compressed archive of ``files`` (path to content), and the digest of the archive uncompressed."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path, content in files.items():
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(content), 0o644
                tar.addfile(entry, io.BytesIO(content))
        plain = archive.getvalue()
        level = 0 if len(plain) > 1 << 20 else 6
        return self.put(gzip.compress(plain, level, mtime=0), LAYER), Digest.of(plain)

    def image(self, layers: Sequence[tuple[Descriptor, Digest]], architecture: str = MACHINE) -> Descriptor:
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": ["/bin/true"]},
            "rootfs": {"type": "layers", "diff_ids": [str(plain) for _, plain in layers]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._put_json(config, CONFIG),
            "layers": [layer for layer, _ in layers],
        }
        platform = {"architecture": architecture, "os": "linux"}
        return {**self._put_json(manifest, MANIFEST), "platform": platform}

    def index(self, manifests: Sequence[Descriptor]) -> Descriptor:
        return self._put_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}, INDEX)

    def artifact(self, subject: Descriptor, artifact_type: str, content: bytes) -> Descriptor:
        """An artifact that refers to ``subject``: image-spec manifest "subject" and "artifactType"."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": artifact_type,
            "config": self.put(b"{}", EMPTY),
            "layers": [self.put(content, "text/plain")],
            "subject": {key: subject[key] for key in ("mediaType", "digest", "size")},
        }
        return {**self._put_json(manifest, MANIFEST), "artifactType": artifact_type}

    def tag(self, name: str, descriptor: Descriptor) -> None:
        self._tagged.append({**descriptor, "annotations": {"org.opencontainers.image.ref.name": name}})
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self._tagged}
        (self.folder / "index.json").write_text(json.dumps(index))

    def read(self, digest: str) -> bytes:
        return (self.folder / "blobs" / digest.replace(":", "/")).read_bytes()

    def _put_json(self, value: object, media_type: str) -> Descriptor:
        return self.put(json.dumps(value).encode(), media_type)


def unpacked(layout: Path, tag: str, path: str) -> bytes:
    """Content of a file of a pulled image, the way a client finds it: tag, manifest, topmost layer that has it."""
    index = json.loads((layout / "index.json").read_bytes())
    names = {entry["annotations"]["org.opencontainers.image.ref.name"]: entry for entry in index["manifests"]}
    digest = names[tag]["digest"]
    manifest = json.loads((layout / "blobs" / digest.replace(":", "/")).read_bytes())
    for layer in reversed(manifest["layers"]):
        with tarfile.open(layout / "blobs" / layer["digest"].replace(":", "/")) as tar:
            if path in tar.getnames():
                content = tar.extractfile(path)
                assert content is not None
                return content.read()
    raise AssertionError(f"no layer of {tag} has {path}")


def noise(size: int, seed: int) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)
