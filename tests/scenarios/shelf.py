"""Images on the upstream, and pulls of them as clients do: the manifest by tag, then what it names."""

import json
from typing import NamedTuple

from proxy.core.manifests import OCI_INDEX, OCI_MANIFEST
from proxy.core.names import Digest
from tests.cast import FaultUpstream
from tests.scenarios.house import APP, House, blob_path, manifest_path


class Image(NamedTuple):
    digest: Digest
    parts: tuple[Digest, ...]  # config and layers
    children: tuple["Image", ...] = ()

    @property
    def all(self) -> set[Digest]:
        return {self.digest, *self.parts, *(digest for child in self.children for digest in child.all)}


def put_image(
    up: FaultUpstream, tag: str | None, *layers: bytes, repository: str = APP, subject: Digest | None = None
) -> Image:
    """With a config of its own, made of the tag and the layers."""
    config = f"config of {repository}:{tag} {len(layers)}".encode() + b"".join(layers)[:32]
    parts = tuple(up.blob(repository, content) for content in (config, *layers))
    descriptors = [{"mediaType": "application/octet-stream", "digest": part, "size": 1} for part in parts]
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptors[0], "layers": descriptors[1:]}
    if subject is not None:
        document["subject"] = {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1}
    return Image(up.manifest(repository, tag, json.dumps(document).encode()), parts)


def put_index(up: FaultUpstream, tag: str | None, *children: Image, repository: str = APP) -> Image:
    descriptors = [{"mediaType": OCI_MANIFEST, "digest": child.digest, "size": 1} for child in children]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors}
    raw = json.dumps(document).encode()
    return Image(up.manifest(repository, tag, raw, OCI_INDEX), (), children)


async def pull(house: House, image: Image, tag: str | None, repository: str = APP) -> set[str]:
    """The whole image; gives back the words of ``Cache-Status`` that were met."""
    said = set()
    reference = tag if tag is not None else image.digest
    for path in (manifest_path(reference, repository), *(blob_path(part, repository) for part in image.parts)):
        reply = await house.get(path)
        assert reply.status == 200, (path, reply)
        said.add(reply.headers["cache-status"].removeprefix("entrepot; "))
    for child in image.children:
        said |= await pull(house, child, None, repository)
    await house.quiet()
    return said
