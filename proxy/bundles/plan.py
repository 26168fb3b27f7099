"""Which images a bundle brings, under which names, and whether it has all of them: decided before a byte goes anywhere.

The names are those of its list, where it has one, else of the layout's ``index.json``, else of Docker's
``manifest.json``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from proxy.bundles.docker_form import saved_images
from proxy.bundles.entries import DOCKER, INDEX, LIST
from proxy.bundles.listing import read_list
from proxy.bundles.names import ImageName, image_name, tagged_name
from proxy.bundles.refusal import BundleRefused, shown
from proxy.bundles.survey import Survey
from proxy.core.foreign_json import Bounds, JsonRefused, parse_json_object
from proxy.core.manifests import ManifestInvalid
from proxy.core.names import Digest, Repository
from proxy.core.parts import DEEPEST, ImageParts, parts_of
from proxy.core.steps import at_once

_CONTAINERD = "io.containerd.image.name"
_OCI = "org.opencontainers.image.ref.name"
_MOST = 100_000  # images
_INDEX_BOUNDS = Bounds(64 << 20, 2_000_000)


class Bringing(NamedTuple):
    """An image that a bundle says to bring; ``manifests`` come before those that refer to them. ``refused`` is why it
    is not taken, empty where it is."""

    name: ImageName
    digest: Digest
    manifests: tuple[Digest, ...] = ()
    blobs: tuple[Digest, ...] = ()
    absent: tuple[Digest, ...] = ()  # manifests of an index that it does not have
    refused: str = ""

    @property
    def contents(self) -> tuple[Digest, ...]:
        return (*self.blobs, *self.manifests)


@dataclass(slots=True)
class Library:
    """The manifests of all bundles that are read together, those that were made included."""

    raw: dict[Digest, bytes]
    _known: dict[Digest, ImageParts | str] = field(default_factory=dict)  # or why it is none: each is read once

    def parts(self, digest: Digest) -> ImageParts:
        """Raises BundleRefused."""
        if digest not in self._known:
            self._known[digest] = self._read(digest)
        found = self._known[digest]
        if isinstance(found, str):
            raise BundleRefused(found)
        return found

    def _read(self, digest: Digest) -> ImageParts | str:
        raw = self.raw.get(digest)
        if raw is None:
            return f"the manifest {digest} is not in the bundle, or its bytes are not good"
        try:
            return at_once(parts_of(raw))
        except ManifestInvalid as cause:
            return f"{digest} is no manifest: {cause}"


def brought(found: Survey, library: Library, repository: Repository | None) -> Iterator[Bringing]:
    """``repository`` is the one of images that have no name, or nothing but a tag. Raises BundleRefused where the
    bundle says nothing that can be understood."""
    if LIST in found.documents:
        yield from _listed(found.documents[LIST])
        return
    named = list(_named(found, library, repository))
    if not named:
        raise BundleRefused("no image in it has a name; give --name REGISTRY/REPOSITORY")
    if len(named) > _MOST:
        raise BundleRefused(f"more than {_MOST} images")
    for name, digest in dict.fromkeys([*named, *_referrers(named, library)]):
        try:
            yield _closed(name, digest, library)
        except BundleRefused as cause:
            yield Bringing(name, digest, refused=str(cause))


def _listed(raw: bytes) -> Iterator[Bringing]:
    """As the list says: of a volume, the manifests may lie in another one."""
    for image in at_once(read_list(raw)).images:
        for name in image.names:
            yield Bringing(name, image.digest, blobs=image.contents, absent=image.absent)


def _named(found: Survey, library: Library, repository: Repository | None) -> Iterator[tuple[ImageName, Digest]]:
    documents = found.documents
    if INDEX in documents:
        for digest, annotations in _of_index(found, documents[INDEX]):
            with found.telling():
                yield from _present(_annotated(annotations, repository), digest)
    elif DOCKER in documents:
        for saved in saved_images(found, documents[DOCKER]):
            library.raw[saved.digest] = saved.raw
            for name in saved.names or ("",):
                with found.telling():
                    yield from _present(tagged_name(name, repository), saved.digest)
    else:
        raise BundleRefused(found.broken or "neither an image layout nor what docker save writes")


def _of_index(found: Survey, raw: bytes) -> Iterator[tuple[Digest, Any]]:
    """Digests, and what is annotated there."""
    try:
        listed = parse_json_object(raw, _INDEX_BOUNDS).get("manifests")
    except JsonRefused as cause:
        raise BundleRefused(f"index.json: {cause}") from None
    for descriptor in listed if isinstance(listed, list) else ():
        if isinstance(descriptor, dict) and isinstance(descriptor.get("digest"), str):
            with found.telling():
                yield Digest.parse(descriptor["digest"]), descriptor.get("annotations")


def _annotated(annotations: Any, repository: Repository | None) -> ImageName | None:
    """containerd's annotation has the full name; that of the image-spec has it, or a tag."""
    fields = annotations if isinstance(annotations, dict) else {}
    full, short = fields.get(_CONTAINERD), fields.get(_OCI)
    if isinstance(full, str):
        return image_name(full)
    return tagged_name(short if isinstance(short, str) else "", repository)


def _present(name: ImageName | None, digest: Digest) -> Iterator[tuple[ImageName, Digest]]:
    if name is not None:
        yield name, digest


def _referrers(named: list[tuple[ImageName, Digest]], library: Library) -> Iterator[tuple[ImageName, Digest]]:
    """Manifests that are about an image of the bundle have no names of their own: they belong where it does."""
    places: dict[Digest, list[Repository]] = {}
    for name, digest in named:
        places.setdefault(digest, []).append(name.repository)
    for digest in list(library.raw):
        try:
            subject = library.parts(digest).subject
        except BundleRefused:
            continue
        for repository in places.get(subject, ()) if subject is not None else ():
            yield ImageName(repository, None), digest


def _closed(name: ImageName, digest: Digest, library: Library) -> Bringing:
    manifests, blobs, absent = _walked(digest, library, DEEPEST)
    once = tuple(dict.fromkeys(manifests))
    return Bringing(name, digest, once, tuple(dict.fromkeys(blobs)), tuple(dict.fromkeys(absent)))


def _walked(digest: Digest, library: Library, deep: int) -> tuple[list[Digest], list[Digest], list[Digest]]:
    """Manifests, the deepest first, blobs, and what of an index is not there."""
    if not deep:
        raise BundleRefused(f"{shown(digest)}: an index within an index within …")
    parts = library.parts(digest)
    manifests: list[Digest] = []
    blobs, absent = list(parts.blobs), []
    for child in parts.manifests:
        if child not in library.raw:
            absent.append(child)
            continue
        below = _walked(child, library, deep - 1)
        manifests, blobs, absent = (have + more for have, more in zip((manifests, blobs, absent), below, strict=True))
    if parts.manifests and not manifests:
        raise BundleRefused("of the index no platform is in the bundle")
    return [*manifests, digest], blobs, absent
