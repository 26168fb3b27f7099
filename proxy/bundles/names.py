"""The full name of an image out of what its bundle says.

``docker save`` writes the names that people type (``alpine:3.19``); skopeo and crane write a tag, or nothing.
"""

from typing import NamedTuple

from proxy.bundles.refusal import BundleRefused, shown
from proxy.core.errors import DigestInvalid, NameInvalid, TagInvalid
from proxy.core.image_names import repository_named
from proxy.core.names import Digest, Repository, Tag
from proxy.core.patterns import ContentPattern


class ImageName(NamedTuple):
    """``tag`` is None where an image has no other name than its digest."""

    repository: Repository
    tag: Tag | None

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}" if self.tag is not None else str(self.repository)


def image_name(written: str) -> ImageName:
    """Raises BundleRefused."""
    found = ContentPattern.parse(written)
    try:
        if found.digest:
            Digest.parse(found.digest)
        tag = Tag.parse(found.tag) if found.tag is not None else None
        return ImageName(repository_named(found.repository), tag)
    except (NameInvalid, TagInvalid, DigestInvalid) as wrong:
        raise BundleRefused(f"{shown(written)} is not the name of an image: {wrong}") from None


def tagged_name(written: str, repository: Repository | None) -> ImageName | None:
    """What stands in ``org.opencontainers.image.ref.name``: a name, or nothing but a tag, which is one of
    ``repository``. None where that is not known. Raises BundleRefused."""
    if "/" in written or ":" in written:
        return image_name(written)
    if repository is None:
        return None
    try:
        return ImageName(repository, Tag.parse(written) if written else None)
    except TagInvalid as wrong:
        raise BundleRefused(str(wrong)) from None
