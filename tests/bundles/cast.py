"""Bundles as honest people and others make them."""

import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from proxy.core.names import Digest
from tests.e2e.images import CONFIG, INDEX, LAYER, MANIFEST

Descriptor = dict[str, Any]


class Parcel:
    """An image layout in memory, to be written in any form. ``key`` tells what is evil in it from what is elsewhere."""

    def __init__(self, key: str = "") -> None:
        self.evil = f"docker.io/evil/app{key}:v1"
        self.evil_layer = f"the layer of evil {key}".encode()
        self.blobs: dict[Digest, bytes] = {}
        self.tagged: list[Descriptor] = []

    @property
    def evil_place(self) -> str:
        return f"blobs/{Digest.of(self.evil_layer).replace(':', '/')}"

    def put(self, content: bytes, media_type: str) -> Descriptor:
        digest = Digest.of(content)
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": str(digest), "size": len(content)}

    def image(self, *layers: bytes) -> Descriptor:
        config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.put(json.dumps({**config, "size": len(self.blobs)}).encode(), CONFIG),
            "layers": [self.put(layer, LAYER) for layer in layers],
        }
        return self.put(json.dumps(manifest).encode(), MANIFEST)

    def index(self, manifests: Sequence[Descriptor]) -> Descriptor:
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(manifests)}
        return self.put(json.dumps(document).encode(), INDEX)

    def tag(self, name: str, descriptor: Descriptor) -> None:
        self.tagged.append({**descriptor, "annotations": {"org.opencontainers.image.ref.name": name}})

    def index_json(self) -> bytes:
        return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.tagged}).encode()

    def files(self) -> list[tuple[str, bytes]]:
        """Documents first, so that what is broken behind them is known by name."""
        blobs = [(f"blobs/{digest.replace(':', '/')}", content) for digest, content in self.blobs.items()]
        return [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", self.index_json()), *blobs]

    def tar(self, *more: bytes) -> bytes:
        """``more`` are raw members behind the honest ones."""
        return b"".join([*(member(name, content) for name, content in self.files()), *more, bytes(1024)])

    def folder(self, path: Path) -> Path:
        for name, content in self.files():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
        return path


def member(name: str, content: bytes = b"", **fields: Any) -> bytes:
    """One member of a tar archive; ``fields`` are those of ``tarfile.TarInfo``."""
    head = tarfile.TarInfo(name)
    head.size = len(content)
    for key, value in fields.items():
        setattr(head, key, value)
    return head.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


def headed(head: bytes, at: int, field: bytes) -> bytes:
    """A header with other bytes in one place, and the sum that fits."""
    changed = bytearray(head)
    changed[at : at + len(field)] = field
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed[:512])
    return bytes(changed)
