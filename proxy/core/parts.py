"""What of other content an image cannot do without: all but layers that no registry has to have.

Layers "not distributable" may lie elsewhere, and a mirror never fetches them from there (image-spec layer.md,
"Non-Distributable Layers"; Docker's foreign layers).
"""

from typing import Any, NamedTuple

from proxy.core.manifests import DOCKER_LIST, OCI_INDEX, ManifestInvalid, facts_of, read_object
from proxy.core.names import Digest
from proxy.core.steps import Steps

_ELSEWHERE = ("nondistributable", "foreign.diff")


DEEPEST = 4
"""An index of indexes of …: levels that are gone down from an image."""


class ImageParts(NamedTuple):
    """``manifests`` of an index, of which a copy may hold some; ``blobs`` of an image, of which it needs all."""

    media_type: str
    manifests: tuple[Digest, ...]
    blobs: tuple[Digest, ...]
    children: tuple[Digest, ...]  # all that it refers to
    subject: Digest | None


def parts_of(raw: bytes, stated: str = "") -> Steps[ImageParts]:
    """Of a manifest's bytes. Raises ManifestInvalid, also for what is an index and an image at once."""
    return (yield from parts_in((yield from read_object(raw)), stated))


def parts_in(document: dict[str, Any], stated: str) -> Steps[ImageParts]:
    """As ``parts_of``, of one that is read already."""
    facts = yield from facts_of(document, stated)
    listed = isinstance(document.get("manifests"), list)
    if listed and "layers" in document:
        raise ManifestInvalid("an index and an image at once")
    if listed or facts.media_type in (OCI_INDEX, DOCKER_LIST):
        return ImageParts(facts.media_type, facts.children, (), facts.children, facts.subject)
    elsewhere = {digest for digest in map(_elsewhere, _layers(document)) if digest is not None}
    blobs = tuple(child for child in facts.children if child not in elsewhere)
    return ImageParts(facts.media_type, (), blobs, facts.children, facts.subject)


def _layers(document: dict[str, Any]) -> list[Any]:
    layers = document.get("layers")
    return layers if isinstance(layers, list) else []


def _elsewhere(layer: Any) -> str | None:
    kind = layer.get("mediaType") if isinstance(layer, dict) else None
    if not isinstance(kind, str) or not any(word in kind for word in _ELSEWHERE):
        return None
    digest = layer.get("digest")
    return digest if isinstance(digest, str) else None
