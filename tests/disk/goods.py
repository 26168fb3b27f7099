"""What the registry of one round has: made anew from the number of the round, always alike."""

import json
import random
from collections.abc import Iterable
from typing import NamedTuple

from proxy.core.manifests import OCI_MANIFEST
from proxy.core.names import Digest
from tests.cast import FaultUpstream, Seen
from tests.scenarios.house import blob_path, manifest_path

MiB = 1 << 20
BUDGET = 20 * MiB
"""Of the whole cache: the catalog with its log, and all of a round but one of the two large layers."""

_LARGE = 9_950_000
_POINTS = ("cold tag", "tag confirmed", "tag moved")  # steps that ask where the tag points


class Good(NamedTuple):
    """Something to be pulled: by a path, and what must come."""

    path: str
    raw: bytes
    digest: Digest
    steps: tuple[str, ...]  # that bring it, or ask where it is

    def fetches(self, asked: Iterable[Seen]) -> int:
        """How many of these requests to upstream brought bytes of it, from whatever repository of the round. The single
        byte with which access is proven is none."""
        names = (self.path.rpartition("/")[2], self.digest)
        return sum(seen.sent > 1 and seen.target.rpartition("/")[2] in names for seen in asked)


class Image(NamedTuple):
    manifest: Good  # by its tag
    config: Good
    layer: Good

    @property
    def by_digest(self) -> Good:
        path = self.manifest.path.rpartition("/")[0]
        return self.manifest._replace(path=f"{path}/{self.manifest.digest}")


class Goods:
    """The contents of one round, under repositories of its own, so that rounds know nothing of each other."""

    def __init__(self, up: FaultUpstream, number: int) -> None:
        self._up = up
        self._random = random.Random(number)
        self.all: list[Good] = []  # that there ever were, in order
        self.name = f"team/round-{number}"
        self.ballast = self._image("ballast", _LARGE, "ballast", "ballast", "ballast")
        self.app = self._image("v1", 300_000, "cold tag", "cold blob", "small blob")
        self.joined = self._image("joined", 400_000, "join", "join", "join")
        self.kept = self._image("keep", 20_000, "pin", "pin", "pin")
        self.old = self._image("old", 200_000, "purge", "purge", "purge")
        self.large = self._image("large", _LARGE + 100_000, "evict", "evict", "evict")
        other, layer = f"{self.name}-other", self.app.layer
        up.blob(other, layer.raw)
        self.shared = layer._replace(path=blob_path(layer.digest, other), steps=("share",))

    def move_tag(self) -> None:
        """``v1`` is another image from now on."""
        self.app = self._image("v1", 300_000, "tag moved", "tag moved", "tag moved")

    def leave(self) -> None:
        """The registry has none of it any more: a long campaign would fill the memory."""
        for good in self.all:
            for reference in (good.path.rpartition("/")[2], good.digest):
                self._up.remove(f"/v2/{self.name}/{good.path.split('/')[-2]}/{reference}")
        self._up.remove(f"/v2/{self.name}-other/blobs/{self.shared.digest}")

    def now(self) -> list[Good]:
        """What must be had, and kept, when all is well: all but what went by order or to make room."""
        images = (self.app, self.joined, self.kept, self.large)
        return [*(good for image in images for good in image), self.app.by_digest, self.shared]

    def _image(self, tag: str, size: int, manifest: str, layer: str, config: str) -> Image:
        """The steps that bring its parts."""
        layer_good, config_good = self._blob(layer, size), self._blob(config, 2_000)
        parts = [{"mediaType": "application/octet-stream", "digest": each.digest, "size": len(each.raw)}
                 for each in (config_good, layer_good)]  # fmt: skip
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": parts[0], "layers": parts[1:]}
        raw = json.dumps(document).encode()
        digest = self._up.manifest(self.name, tag, raw)
        found = Good(manifest_path(tag, self.name), raw, digest, _POINTS if tag == "v1" else (manifest,))
        self.all.append(found)
        return Image(found, config_good, layer_good)

    def _blob(self, step: str, size: int) -> Good:
        raw = self._random.randbytes(size)
        digest = self._up.blob(self.name, raw)
        found = Good(blob_path(digest, self.name), raw, digest, (step,))
        self.all.append(found)
        return found
