"""Manifests: media types, and what a manifest refers to.

The bytes of a manifest are never re-encoded; what is read out of them serves housekeeping only and never decides who
may have what. A stranger wrote them, so all that looks at them does so in steps. Media types and fields: OCI image-spec
manifest.md and image-index.md; Docker image manifest v2 schema 2.
"""

import base64
import re
from dataclasses import dataclass
from typing import Any

from proxy.core.errors import DigestInvalid
from proxy.core.foreign_json import Bounds, JsonRefused, JsonTooMuch, read_json_object
from proxy.core.names import Digest
from proxy.core.steps import Steps

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_SIGNED_V1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
DOCKER_V1 = "application/vnd.docker.distribution.manifest.v1+json"

KNOWN = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST, DOCKER_SIGNED_V1, DOCKER_V1)
ACCEPT = ", ".join((*KNOWN, "*/*"))
"""What upstreams are asked for, always the same: the digest that a tag gives depends on Accept."""

_GENERIC = frozenset({"application/json", "application/octet-stream"})
# RFC 6838 section 4.2; it becomes a header of ours, so nothing else may pass.
_MEDIA_TYPE = re.compile(r"application/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}", re.ASCII | re.IGNORECASE)
DESCRIPTOR_LIMIT = 10_000
_LONGEST_PLATFORM = 60  # characters
BOUNDS = Bounds(16 * 1024 * 1024, 10 * DESCRIPTOR_LIMIT)
"""Of a manifest: what is received is bounded more closely in bytes, by the configuration. A descriptor with a platform
and annotations has ten values."""
_STEP = 500  # descriptors that are looked at in one step


class ManifestInvalid(ValueError):
    """Not a manifest that can be understood in one way only."""


class ManifestTooMuch(ManifestInvalid):
    """More than is read of a manifest, whatever it says."""


@dataclass(frozen=True, slots=True)
class ManifestFacts:
    """What a manifest says of itself and of others."""

    media_type: str
    children: tuple[Digest, ...]  # manifests of an index; config and layers of an image
    subject: Digest | None


def read_object(raw: bytes, bounds: Bounds = BOUNDS) -> Steps[dict[str, Any]]:
    """A JSON object. Raises ManifestTooMuch for what is beyond ``bounds`` or nested deeply, ManifestInvalid for all
    else that is none, and for what parsers differ on: duplicate keys, NaN, a byte order mark."""
    try:
        return (yield from read_json_object(raw, bounds))
    except JsonTooMuch as cause:
        raise ManifestTooMuch(str(cause)) from None
    except JsonRefused as cause:
        raise ManifestInvalid(str(cause)) from None


def media_type_of(document: dict[str, Any], stated: str) -> str:
    """The media type to serve: the document's own word unless that is empty, else what upstream stated where that is a
    type of manifests that its fields do not contradict (CVE-2021-41190), else what its fields show, else whatever
    upstream stated. ``stated`` is a Content-Type with or without parameters. Raises ManifestInvalid."""
    own = document.get("mediaType")
    if own not in (None, ""):
        if isinstance(own, str) and _MEDIA_TYPE.fullmatch(own):
            return own
        raise ManifestInvalid("its mediaType is not a media type")
    stated = stated.partition(";")[0].strip()
    shown = _shown_types(document)
    if stated in KNOWN and (not shown or stated in shown):
        return stated
    if shown:
        return shown[0]
    if stated.lower() in _GENERIC or not _MEDIA_TYPE.fullmatch(stated):
        raise ManifestInvalid("neither a media type nor the fields of a manifest")
    return stated


def _shown_types(document: dict[str, Any]) -> list[str]:
    """Those that its fields alone allow, the likeliest first; empty where they show nothing."""
    shown = []
    if isinstance(document.get("manifests"), list):
        shown += [OCI_INDEX, DOCKER_LIST]
    if "config" in document and isinstance(document.get("layers"), list):
        shown += [OCI_MANIFEST, DOCKER_MANIFEST]
    if document.get("schemaVersion") == 1 and isinstance(document.get("fsLayers"), list):
        shown += [DOCKER_SIGNED_V1, DOCKER_V1] if "signatures" in document else [DOCKER_V1, DOCKER_SIGNED_V1]
    return shown


def read_manifest(raw: bytes, stated: str) -> Steps[ManifestFacts]:
    """Raises ManifestInvalid. A document that is an index and an image at once names the children of both: it is kept
    conservatively, never interpreted."""
    return (yield from facts_of((yield from read_object(raw)), stated))


def facts_of(document: dict[str, Any], stated: str) -> Steps[ManifestFacts]:
    """As ``read_manifest``, of one that is read already."""
    media_type = media_type_of(document, stated)
    children = yield from _children(document)
    subject = document.get("subject")
    return ManifestFacts(media_type, children, _digest(subject.get("digest")) if isinstance(subject, dict) else None)


def platform_of(index: bytes, child: Digest) -> Steps[str | None]:
    """What an index says its child runs on, as ``linux/arm64/v8`` (image-spec "Image Index"); None where it does not
    say, or is no index."""
    try:
        listed = (yield from read_object(index)).get("manifests")
    except ManifestInvalid:
        return None
    for descriptor in listed if isinstance(listed, list) else ():
        if isinstance(descriptor, dict) and descriptor.get("digest") == child:
            platform = descriptor.get("platform")
            return _platform(platform) if isinstance(platform, dict) else None
    return None


def _platform(fields: dict[str, Any]) -> str | None:
    named = (fields.get(key) for key in ("os", "architecture", "variant"))
    return "/".join(part for part in named if isinstance(part, str) and part.isprintable())[:_LONGEST_PLATFORM] or None


def digested(raw: bytes) -> Steps[bytes]:
    """What the digest of a manifest is over: all of it, but of a signed schema 1 manifest the payload, which its
    signatures were put into (distribution image manifest v2 schema 1, "Signed Manifests")."""
    if b'"signatures"' not in raw or b'"fsLayers"' not in raw:
        return raw
    try:
        protected = _unbase64((yield from read_object(raw))["signatures"][0]["protected"])
        form = yield from read_object(protected)
        length, tail = form["formatLength"], _unbase64(form["formatTail"])
        payload = raw[:length] + tail if 0 < length < len(raw) else raw
        return payload if "signatures" not in (yield from read_object(payload)) else raw
    except (ValueError, LookupError, TypeError):
        return raw


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _children(document: dict[str, Any]) -> Steps[tuple[Digest, ...]]:
    descriptors: list[Any] = [document.get("config")]
    for field in ("manifests", "layers", "fsLayers"):
        listed = document.get(field)
        descriptors.extend(listed if isinstance(listed, list) else ())
    if len(descriptors) > DESCRIPTOR_LIMIT:
        raise ManifestTooMuch(f"more than {DESCRIPTOR_LIMIT} descriptors")
    found: dict[Digest, None] = {}
    for place, descriptor in enumerate(descriptors, 1):
        if isinstance(descriptor, dict):
            digest = _digest(descriptor.get("digest", descriptor.get("blobSum")))
            if digest is not None:
                found[digest] = None
        if not place % _STEP:
            yield
    return tuple(found)


def _digest(text: object) -> Digest | None:
    try:
        return Digest.parse(text) if isinstance(text, str) else None
    except DigestInvalid:
        return None
