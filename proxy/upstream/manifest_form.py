"""What a manifest must look like to be passed on, and which media type it has. Pure."""

import json
import re
from typing import Any

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
_SIGNED_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"

ACCEPT = ", ".join(
    (
        INDEX,
        MANIFEST,
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        _SIGNED_SCHEMA1,
        _SCHEMA1,
        "*/*",
    )
)
"""Always the whole list, whatever the client accepts: what a tag points to depends on it, and tags are remembered."""

_MEDIA_TYPE = re.compile(r"application/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}", re.ASCII | re.IGNORECASE)
_GENERIC = frozenset({"application/json", "application/octet-stream"})


class NotAManifest(ValueError):
    """The sentence says why."""


def parse_object(raw: bytes) -> dict[str, Any]:
    """Raises NotAManifest for anything but a JSON object, however deep or odd it is."""
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as fault:
        raise NotAManifest("it is not JSON") from fault
    if not isinstance(content, dict):
        raise NotAManifest("it is not a JSON object")
    return content


def media_type_of(raw: bytes, content_type: str | None) -> str:
    """The type that clients must be told: what the manifest says of itself, as they compare the two; else what
    upstream says; else what the fields show (image-spec "manifest" and "index"; distribution's schema 1).
    Raises NotAManifest."""
    content = parse_object(raw)
    said = content.get("mediaType")
    if isinstance(said, str) and _MEDIA_TYPE.fullmatch(said):
        return said
    header = (content_type or "").partition(";")[0].strip()
    if _MEDIA_TYPE.fullmatch(header) and header.lower() not in _GENERIC:
        return header
    if "manifests" in content:
        return INDEX
    if "config" in content and "layers" in content:
        return MANIFEST
    if content.get("schemaVersion") == 1 and "fsLayers" in content:
        return _SIGNED_SCHEMA1 if "signatures" in content else _SCHEMA1
    raise NotAManifest("it has none of a manifest's fields")
