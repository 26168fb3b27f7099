"""An image of a repository as a lifecycle policy sees it, and the reader of lists of images.

Names are those of the ECR API's ImageDetail. Times are seconds since the epoch.
"""

import math
from typing import NamedTuple

from proxy.core.lifecycle.documents import Members, plain, read_json, type_name
from proxy.core.lifecycle.faults import ImagesInvalid
from proxy.core.lifecycle.policy import StorageClass
from proxy.core.moments import parse_iso


class Image(NamedTuple):
    """``digest`` is unique in its repository. For a cache, ``pushed_at`` is when the image was first cached,
    ``pulled_at`` when it was last served, and ``size`` what its removal gives back, an index with its children.
    """

    repository: str
    digest: str
    tags: tuple[str, ...]
    pushed_at: float
    pulled_at: float | None = None
    size: int = 0  # bytes
    media_type: str | None = None
    references: tuple[str, ...] = ()  # the digests of an index's children
    subject: str | None = None  # the digest of the manifest that a signature, SBOM or other artifact is about
    storage_class: StorageClass = StorageClass.STANDARD
    activated_at: float | None = None  # last restored from the archive
    archived_at: float | None = None  # last moved to the archive


def images_from_json(text: str) -> list[Image]:
    """A list of images as ``aws ecr describe-images`` prints them (with or without the ``imageDetails`` around it),
    with ``references`` and ``subject`` besides. Times are epoch seconds or ISO 8601 with a zone. Members that a
    policy does not ask about are passed over. Raises ImagesInvalid with the first fault.
    """
    try:
        document = read_json(text)
    except ValueError as error:
        raise ImagesInvalid(None, "", f"not readable as JSON: {error}") from None
    if isinstance(document, Members) and "imageDetails" in document:
        document = document["imageDetails"]
    if not isinstance(document, list):
        raise ImagesInvalid(None, "", f"must be a list, not {type_name(document)}")
    images = [_image(_GivenImage(value, index)) for index, value in enumerate(document)]
    seen: set[tuple[str, str]] = set()
    for index, image in enumerate(images):
        if (image.repository, image.digest) in seen:
            raise ImagesInvalid(index, "imageDigest", "is in the list twice")
        seen.add((image.repository, image.digest))
    return images


def _image(entry: "_GivenImage") -> Image:
    digest, pushed_at = entry.text("imageDigest"), entry.time("imagePushedAt")
    if not digest:
        raise entry.fault("imageDigest", "is required")
    if pushed_at is None:
        raise entry.fault("imagePushedAt", "is required")
    return Image(
        repository=entry.text("repositoryName") or "",
        digest=digest,
        tags=entry.texts("imageTags"),
        pushed_at=pushed_at,
        pulled_at=entry.time("lastRecordedPullTime"),
        size=entry.size("imageSizeInBytes"),
        media_type=entry.text("imageManifestMediaType"),
        references=entry.texts("references"),
        subject=entry.text("subject") or entry.text("subjectManifestDigest"),
        storage_class=_storage_class(entry),
        activated_at=entry.time("lastActivatedAt"),
        archived_at=entry.time("lastArchivedAt"),
    )


def _storage_class(entry: "_GivenImage") -> StorageClass:
    """ImageDetail has no class but a status; an image that is being restored has not left the archive yet."""
    given = entry.text("storageClass")
    if given is None:
        archived = entry.text("imageStatus") in ("ARCHIVED", "ACTIVATING")
        return StorageClass.ARCHIVE if archived else StorageClass.STANDARD
    try:
        return StorageClass(given.lower())
    except ValueError:
        raise entry.fault("storageClass", f"must be one of {', '.join(StorageClass)}") from None


class _GivenImage:
    """One image of the list. A member that is absent or null is None, empty or 0."""

    def __init__(self, value: object, index: int) -> None:
        self._index = index
        if not isinstance(value, Members):
            raise self.fault("", f"must be an object, not {type_name(value)}")
        if value.repeated:
            raise self.fault(plain(value.repeated[0]), "is given more than once")
        self._members = value

    def fault(self, field: str, reason: str) -> ImagesInvalid:
        return ImagesInvalid(self._index, field, reason)

    def text(self, name: str) -> str | None:
        value = self._members.get(name)
        if value is None or isinstance(value, str):
            return value
        raise self.fault(name, f"must be a string, not {type_name(value)}")

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._members.get(name)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise self.fault(name, f"must be a list of strings, not {type_name(value)}")
        for position, entry in enumerate(value):
            if not isinstance(entry, str) or not entry:
                raise self.fault(f"{name}[{position}]", "must be a string that is not empty")
        return tuple(value)

    def size(self, name: str) -> int:
        value = self._members.get(name)
        if value is None:
            return 0
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        raise self.fault(name, "must be a number of bytes")

    def time(self, name: str) -> float | None:
        value = self._members.get(name)
        if value is None:
            return None
        seconds = parse_iso(value) if isinstance(value, str) else _from_number(value)
        if seconds is None:
            raise self.fault(name, "must be epoch seconds or ISO 8601 with a zone")
        return seconds


def _from_number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None
