"""The documents of a bundle that is written: what other tools find images by. One byte string for one list.

Image layout and ``org.opencontainers.image.ref.name``: OCI image-spec image-layout.md and annotations.md; the full name
stands there, since a tag alone says nothing on the other side. containerd and ``docker load`` read their own.
"""

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

from proxy.bundles.docker_form import docker_entry
from proxy.bundles.entries import DOCKER, INDEX, LAYOUT, LIST, SIGNATURE
from proxy.bundles.listing import BundleList
from proxy.bundles.names import ImageName
from proxy.core.manifests import OCI_INDEX, ManifestInvalid, read_object
from proxy.core.names import Digest
from proxy.core.parts import parts_of
from proxy.core.steps import at_once

LAYOUT_FILE = b'{"imageLayoutVersion":"1.0.0"}'
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}

Raw = Callable[[Digest], bytes | None]
"""The bytes of a manifest that goes into the bundle."""
Sign = Callable[[bytes], bytes]


def documents_of(listed: BundleList, raw: Raw, sign: Sign | None) -> dict[str, bytes]:
    """By their names."""
    encoded = listed.encode()
    found = {
        LAYOUT: LAYOUT_FILE,
        INDEX: _json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(_descriptors(listed, raw))}),
        DOCKER: _json(list(_docker(listed, raw))),
        LIST: encoded,
    }
    return found if sign is None else {**found, SIGNATURE: sign(encoded)}


def _descriptors(listed: BundleList, raw: Raw) -> Iterator[dict[str, Any]]:
    for image in listed.images:
        content = raw(image.digest)
        if content is None:
            continue
        plain = {"mediaType": _type(content), "digest": image.digest, "size": len(content)}
        for name in image.names:
            yield {**plain, "annotations": _annotations(name)} if name.tag is not None else plain


def _annotations(name: ImageName) -> dict[str, str]:
    return {"org.opencontainers.image.ref.name": str(name), "io.containerd.image.name": str(name)}


def _docker(listed: BundleList, raw: Raw) -> Iterator[dict[str, Any]]:
    """One platform of each image that has a tag: this machine's, where it is there."""
    for image in listed.images:
        names = [str(name) for name in image.names if name.tag is not None]
        found = _document(raw, image.digest)
        if found is not None and "manifests" in found:
            found = _platform(found["manifests"], raw)
        if names and found is not None and _is_image(found):
            yield docker_entry(names, found)


def _platform(listed: Any, raw: Raw) -> dict[str, Any] | None:
    machine = _MACHINES.get(os.uname().machine, os.uname().machine)
    images: list[tuple[bool, dict[str, Any]]] = []
    for descriptor in listed if isinstance(listed, list) else ():
        found = _document(raw, descriptor.get("digest")) if isinstance(descriptor, dict) else None
        if found is not None and _is_image(found):
            platform = descriptor.get("platform")
            here = isinstance(platform, dict) and platform.get("architecture") == machine
            images.append((not here, found))
    return min(images, key=lambda each: each[0])[1] if images else None


def _is_image(document: dict[str, Any]) -> bool:
    """Of the kind that has a root file system."""
    config, layers = document.get("config"), document.get("layers")
    kind = config.get("mediaType") if isinstance(config, dict) else None
    known = isinstance(kind, str) and ("image.config" in kind or "container.image" in kind)
    return known and isinstance(layers, list) and all(isinstance(each, dict) and "digest" in each for each in layers)


def _document(raw: Raw, digest: Any) -> dict[str, Any] | None:
    content = raw(Digest(digest)) if isinstance(digest, str) else None  # looked up, never a name
    try:
        return at_once(read_object(content)) if content is not None else None
    except ManifestInvalid:
        return None


def _type(raw: bytes) -> str:
    try:
        return at_once(parts_of(raw)).media_type
    except ManifestInvalid:
        return OCI_INDEX


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
