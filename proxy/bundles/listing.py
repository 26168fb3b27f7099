"""The list of a bundle: what it holds by name, and all content that this needs. It is what is signed, and what the far
side gives for the next bundle to hold no more than is missing there.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.bundles.names import ImageName, image_name
from proxy.bundles.refusal import BundleRefused
from proxy.core.errors import DigestInvalid
from proxy.core.foreign_json import Bounds, JsonRefused, read_json_object
from proxy.core.names import Digest
from proxy.core.steps import Steps

LIST_LIMIT = 16 << 20
"""Bytes of a list: some 10,000 images. What is more goes into several bundles."""

_FORMAT = "entrepot bundle 1"
_STEP = 500  # images, and contents, that are looked at in one step


@dataclass(frozen=True, slots=True)
class ListedImage:
    """A manifest under its names; of an index the platforms that are left out are ``absent``, as manifests."""

    names: tuple[ImageName, ...]  # one without a tag where it has no tag
    digest: Digest
    contents: tuple[Digest, ...]  # all that it needs, itself included
    absent: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class BundleList:
    """``parent`` is the digest of the list that this one goes on from; ``created_at`` in seconds since the epoch."""

    images: tuple[ListedImage, ...]
    sizes: Mapping[Digest, int]  # bytes of all contents
    created_at: float
    parent: Digest | None = None

    def named(self) -> set[tuple[ImageName, Digest]]:
        """Its images by each of their names."""
        return {(name, image.digest) for image in self.images for name in image.names}

    def encode(self) -> bytes:
        """One byte string for one list."""
        images = [
            {
                "names": [str(name) for name in image.names],
                "upstream": image.names[0].repository.upstream,
                "digest": image.digest,
                "contents": list(image.contents),
                **({"absent": list(image.absent)} if image.absent else {}),
            }
            for image in self.images
        ]
        whole = {
            "format": _FORMAT,
            "created": self.created_at,
            "parent": self.parent,
            "images": images,
            "contents": dict(self.sizes),
        }
        return json.dumps(whole, indent=1).encode() + b"\n"


def read_list(raw: bytes) -> Steps[BundleList]:
    """Raises BundleRefused."""
    try:
        document = yield from read_json_object(raw, Bounds(LIST_LIMIT, 1_000_000))
        if document.get("format") != _FORMAT:
            raise BundleRefused(f"not a list of the format {_FORMAT!r}")
        images = []
        for number, given in enumerate(_listed(document, "images")):
            if number % _STEP == _STEP - 1:
                yield
            images.append(_image(given))
        sizes = {}
        for number, (digest, size) in enumerate(_members(document)):
            if number % _STEP == _STEP - 1:
                yield
            sizes[Digest.parse(_text(digest))] = _count(size)
        parent = document.get("parent")
        known = Digest.parse(_text(parent)) if parent is not None else None
        return BundleList(tuple(images), sizes, float(document["created"]), known)
    except (JsonRefused, DigestInvalid, KeyError, TypeError, ValueError) as wrong:
        raise BundleRefused(f"the list cannot be read: {wrong}") from None


def news(found: BundleList, parent: BundleList, digest: Digest) -> BundleList:
    """What of ``found`` is not in ``parent`` as it is, whose bytes have that digest."""
    known = parent.named()
    images = tuple(
        image
        for image in found.images
        if any((name, image.digest) not in known for name in image.names)
        or any(each not in parent.sizes for each in image.contents)
    )
    return of_images(images, found.sizes, found.created_at, digest)


def of_images(
    images: Iterable[ListedImage], sizes: Mapping[Digest, int], at: float, parent: Digest | None = None
) -> BundleList:
    """A list of these, and of no more content than they need; ``at`` in seconds since the epoch."""
    listed = tuple(images)
    needed = {digest for image in listed for digest in image.contents}
    return BundleList(listed, {digest: sizes[digest] for digest in sorted(needed)}, at, parent)


def _image(given: Any) -> ListedImage:
    names = tuple(image_name(_text(name)) for name in _listed(given, "names"))
    if not names:
        raise ValueError("an image has no name")
    contents = tuple(Digest.parse(_text(each)) for each in _listed(given, "contents"))
    absent = tuple(Digest.parse(_text(each)) for each in given.get("absent", ()))
    return ListedImage(names, Digest.parse(_text(given["digest"])), contents, absent)


def _listed(given: Any, key: str) -> list[Any]:
    found = given[key]
    if not isinstance(found, list):
        raise TypeError(f"{key} is not a list")
    return found


def _members(document: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    found = document["contents"]
    if not isinstance(found, dict):
        raise TypeError("contents is not an object")
    return found.items()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError("not a size")
    return value
