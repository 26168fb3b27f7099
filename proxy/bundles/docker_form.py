"""Docker's ``manifest.json``: read of tarballs that know no manifests, and written beside ours.

``docker save`` of releases before 25, ``skopeo copy docker-archive:`` and ``crane pull`` keep an image's configuration
and its layers; a manifest is made of them here, an OCI one. moby/image spec v1.2, "Combined Image JSON + Filesystem
Changeset Format".
"""

import json
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from proxy.bundles.entries import blob_name
from proxy.bundles.flows import GZIP, ZSTD
from proxy.bundles.refusal import BundleRefused, shown
from proxy.bundles.survey import Survey
from proxy.core.foreign_json import Bounds, JsonRefused, parse_json
from proxy.core.manifests import OCI_MANIFEST
from proxy.core.names import Digest

_BOUNDS = Bounds(16 << 20, 200_000)
_MOST = 1000  # images, and layers of one
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


class SavedImage(NamedTuple):
    """``raw`` is a manifest made of what was saved."""

    names: tuple[str, ...]
    digest: Digest
    raw: bytes


def saved_images(found: Survey, document: bytes) -> Iterator[SavedImage]:
    """Raises BundleRefused."""
    try:
        listed = parse_json(document, _BOUNDS)
    except JsonRefused as cause:
        raise BundleRefused(f"manifest.json: {cause}") from None
    if not isinstance(listed, list) or len(listed) > _MOST:
        raise BundleRefused("manifest.json is no list of images")
    for each in listed:
        fields = each if isinstance(each, dict) else {}
        names, layers = fields.get("RepoTags") or [], fields.get("Layers") or []
        if not isinstance(names, list) or not isinstance(layers, list) or len(layers) > _MOST:
            raise BundleRefused("manifest.json has an image that is none")
        with found.telling():
            config = _descriptor(found, fields.get("Config"), _CONFIG)
            raw = _manifest(config, [_descriptor(found, layer, _LAYER) for layer in layers])
            yield SavedImage(tuple(name for name in names if isinstance(name, str)), Digest.of(raw), raw)


def docker_entry(names: list[str], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """An image with blobs in the layout's own places, for ``docker load``."""
    return {
        "Config": blob_name(manifest["config"]["digest"]),
        "RepoTags": names,
        "Layers": [blob_name(layer["digest"]) for layer in manifest["layers"]],
    }


def _manifest(config: dict[str, Any], layers: list[dict[str, Any]]) -> bytes:
    fields = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}
    return json.dumps(fields, separators=(",", ":")).encode()


def _descriptor(found: Survey, name: object, media_type: str) -> dict[str, Any]:
    """Of a member; a link is another name of one."""
    if not isinstance(name, str):
        raise BundleRefused("manifest.json names something that is no name")
    digest = found.members.get(name) or _in_layout(found, name)
    if digest is None and name in found.links:
        target = found.links[name]
        digest = found.members.get(posixpath.normpath(posixpath.join(posixpath.dirname(name), target)))
        digest = digest or found.members.get(target)  # a hard link's is written from the top
    if digest is None:
        raise BundleRefused(f"manifest.json names {shown(name)}, which is not in the archive")
    size, _, magic = found.contents[digest]
    ending = "+gzip" if magic.startswith(GZIP) else "+zstd" if magic == ZSTD else ""
    return {"mediaType": media_type + ending, "digest": digest, "size": size}


def _in_layout(found: Survey, name: str) -> Digest | None:
    written = name.removeprefix("blobs/").replace("/", ":", 1)
    return Digest(written) if name.startswith("blobs/") and written in found.contents else None
