"""What a held image is made of, for people: its parts as its manifest lists them, and which of its bytes it shares.

Fields: OCI image-spec manifest.md, image-index.md and config.md.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from proxy.core.errors import DigestInvalid
from proxy.core.graph import Node
from proxy.core.manifests import ManifestInvalid, read_object
from proxy.core.names import Digest
from proxy.core.platforms import platform_in
from proxy.core.steps import Steps

LARGEST_CONFIG = 4 << 20  # bytes
_STEP = 500  # descriptors that are looked at in one step
_LONGEST = 255  # characters of a media type
_ROLES = {"manifests": "manifest", "layers": "layer", "fsLayers": "layer"}


class ListedPart(NamedTuple):
    """``size`` is a claim of the manifest, in bytes; ``platform`` what an index says of one of its manifests."""

    role: str  # manifest, config or layer
    digest: Digest
    media_type: str = ""
    size: int | None = None
    platform: str | None = None


def listed_parts(raw: bytes) -> Steps[list[ListedPart]]:
    """In the order of the manifest; none of what is no manifest."""
    try:
        document = yield from read_object(raw)
    except ManifestInvalid:
        return []
    parts = []
    for place, (role, descriptor) in enumerate(_descriptors(document), 1):
        part = _part(role, descriptor)
        if part is not None:
            parts.append(part)
        if not place % _STEP:
            yield
    return parts


def configured_platform(raw: bytes) -> Steps[str | None]:
    """What the config of an image says that it runs on."""
    try:
        found = platform_in((yield from read_object(raw)))
    except ManifestInvalid:
        return None
    return str(found) if found is not None else None


def own_contents(root: Digest, nodes: Mapping[Digest, Node]) -> dict[Digest, bool]:
    """All that is held of an image, itself included; True of what manifests outside of it
    refer to as well."""
    references: Counter[Digest] = Counter()
    found, waiting = {root}, [root]
    while waiting:
        for child in nodes[waiting.pop()].children:
            if child in nodes:
                references[child] += 1
                if child not in found:
                    found.add(child)
                    waiting.append(child)
    return {digest: nodes[digest].parents > references[digest] for digest in found}


def _descriptors(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(config := document.get("config"), dict):
        yield "config", config
    for field, role in _ROLES.items():
        listed = document.get(field)
        for descriptor in listed if isinstance(listed, list) else ():
            if isinstance(descriptor, dict):
                yield role, descriptor


def _part(role: str, descriptor: Mapping[str, Any]) -> ListedPart | None:
    written, media_type, size = (descriptor.get(key) for key in ("digest", "mediaType", "size"))
    written = written if written is not None else descriptor.get("blobSum")
    try:
        digest = Digest.parse(written) if isinstance(written, str) else None
    except DigestInvalid:
        digest = None
    if digest is None:
        return None
    platform = platform_in(descriptor.get("platform"))
    return ListedPart(
        role,
        digest,
        media_type[:_LONGEST] if isinstance(media_type, str) else "",
        size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
        str(platform) if platform is not None else None,
    )
