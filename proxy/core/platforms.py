"""What an image runs on, and which images of an index are meant by a choice of platforms.

Fields of an index: OCI image-spec "Image Index". A variant that is not named goes by what containerd takes for it
(containerd platforms, "Normalization").
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from proxy.core.errors import DigestInvalid
from proxy.core.manifests import read_object
from proxy.core.names import Digest
from proxy.core.parts import ImageParts, parts_in
from proxy.core.steps import Steps

_LONGEST = 64  # characters
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_STEP = 500  # descriptors that are looked at in one step
_ATTESTED = "vnd.docker.reference.digest"
"""BuildKit's annotation: the image of the same index that an attestation is about."""
_MACHINES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm/v7",
    "armv6l": "arm/v6",
    "i686": "386",
    "loongarch64": "loong64",
}
_SAME = {("arm64", ""): "v8", ("arm", ""): "v7", ("amd64", ""): "v1"}


class Platform(NamedTuple):
    """``linux/arm64/v8``; without a variant all of them are meant."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, written: str) -> Self:
        """Raises ValueError with advice."""
        parts = written.split("/")
        if not 2 <= len(parts) <= 3 or not all(map(_is_word, parts)) or len(written) > _LONGEST:
            raise ValueError("not a platform: write OS/ARCHITECTURE, such as linux/amd64 or linux/arm/v7")
        return cls(*parts)

    @classmethod
    def of_machine(cls, machine: str) -> Self:
        """Of Linux on such a machine, as ``uname -m`` calls it."""
        return cls.parse(f"linux/{_MACHINES.get(machine, machine)}")

    def means(self, other: "Platform") -> bool:
        """Whether an image for ``other`` is one of those that are asked for."""
        if (self.os, self.architecture) != (other.os, other.architecture):
            return False
        return not self.variant or _variant(self) == _variant(other)

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


class WantedParts(NamedTuple):
    """What of an image is wanted. ``sizes`` are claims of the manifest, in bytes; ``lacking`` are platforms of which
    the index has nothing, ``offered`` those that it has."""

    parts: ImageParts
    manifests: tuple[Digest, ...]
    sizes: dict[Digest, int]
    lacking: tuple[Platform, ...] = ()
    offered: tuple[Platform, ...] = ()


class _Listed(NamedTuple):
    digest: Digest
    platform: Platform | None
    attested: str | None


def select(raw: bytes, stated: str, wanted: Sequence[Platform] | None) -> Steps[WantedParts]:
    """Of a manifest's bytes: of an index the images for ``wanted``, all where that is None, with what is attested of
    them, and what has no platform. Raises ManifestInvalid."""
    document = yield from read_object(raw)
    parts = yield from parts_in(document, stated)
    sizes = yield from _sizes(document)
    if wanted is None or not parts.manifests:
        return WantedParts(parts, parts.manifests, sizes)
    listed = yield from _listed(document)
    offered = {each.digest: each.platform for each in listed if each.platform is not None and each.attested is None}
    meant = {digest for digest, platform in offered.items() if any(each.means(platform) for each in wanted)}
    meant |= {each.digest for each in listed if each.platform is None and each.attested is None}
    meant |= {each.digest for each in listed if each.attested in meant}
    lacking = tuple(each for each in wanted if offered and not any(map(each.means, offered.values())))
    manifests = tuple(digest for digest in parts.manifests if digest in meant)
    return WantedParts(parts, manifests, sizes, lacking, tuple(dict.fromkeys(offered.values())))


def _listed(document: dict[str, Any]) -> Steps[list[_Listed]]:
    found = []
    for place, descriptor in enumerate(_descriptors(document.get("manifests")), 1):
        digest = _digest(descriptor)
        if digest is not None:
            found.append(_Listed(digest, platform_in(descriptor.get("platform")), _attested(descriptor)))
        if not place % _STEP:
            yield
    return found


def _sizes(document: dict[str, Any]) -> Steps[dict[Digest, int]]:
    sizes: dict[Digest, int] = {}
    parts = [document.get("config"), *_descriptors(document.get("layers")), *_descriptors(document.get("manifests"))]
    for place, descriptor in enumerate(_descriptors(parts), 1):
        digest, size = _digest(descriptor), descriptor.get("size")
        if digest is not None and isinstance(size, int) and not isinstance(size, bool) and size >= 0:
            sizes[digest] = size
        if not place % _STEP:
            yield
    return sizes


def _descriptors(found: object) -> list[dict[str, Any]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _digest(descriptor: dict[str, Any]) -> Digest | None:
    written = descriptor.get("digest")
    try:
        return Digest.parse(written) if isinstance(written, str) else None
    except DigestInvalid:
        return None


def platform_in(fields: object) -> Platform | None:
    """Of the ``platform`` of a descriptor, or an image's config; None where it names none."""
    if not isinstance(fields, dict):
        return None
    os, architecture, variant = (fields.get(key, "") for key in ("os", "architecture", "variant"))
    written = (os, architecture, variant if _is_word(variant) else "")
    return Platform(*written) if all(map(_is_word, written[:2])) else None


def _attested(descriptor: dict[str, Any]) -> str | None:
    annotations = descriptor.get("annotations")
    about = annotations.get(_ATTESTED) if isinstance(annotations, dict) else None
    return about if isinstance(about, str) else None


def _variant(platform: Platform) -> str:
    return _SAME.get((platform.architecture, platform.variant), platform.variant)


def _is_word(text: object) -> bool:
    return isinstance(text, str) and _WORD.fullmatch(text) is not None
