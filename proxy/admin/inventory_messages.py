"""What is held, as it is asked for and told. Sizes are bytes, times seconds since the epoch."""

from typing import Literal

from pydantic import TypeAdapter

from proxy.admin.messages import AdminRequest, Message, Operation


class ListRequest(AdminRequest):
    """``repository``: without it all repositories are told, with it the images of those that it means: a name as people
    write it, or a pattern over REGISTRY/REPOSITORY."""

    repository: str | None = None


class RepositoryLine(Message):
    """``size_in_bytes`` counts what images share for each of them."""

    repository_name: str
    images: int
    tags: int
    size_in_bytes: int
    used_at: float


class ImageLine(Message):
    """``manifests`` counts the held ones of an index; ``pinned_by`` is the pattern of a pin."""

    repository_name: str
    image_digest: str
    image_tags: tuple[str, ...]
    media_type: str
    manifests: int
    image_size_in_bytes: int
    cached_at: float
    used_at: float
    pinned_by: str | None = None


class ListSummary(Message):
    repositories: int
    images: int


class ListEnd(Message):
    """The last line."""

    summary: ListSummary


class InspectRequest(AdminRequest):
    """``reference``: an image as people name it, REGISTRY/REPOSITORY with :TAG or @DIGEST, or a digest alone."""

    reference: str


class InspectedReferrer(Message):
    digest: str
    media_type: str
    size: int


class InspectedPart(Message):
    """``depth`` is 0 of what the image itself lists, 1 of what a manifest of an index does. ``size`` is that of what is
    held, else what the manifest claims. ``shared``: images outside of this one need it too."""

    digest: str
    role: Literal["config", "layer", "manifest"]
    depth: int
    media_type: str
    size: int | None
    platform: str | None
    held: bool
    shared: bool


class InspectedImage(Message):
    """``granted_by`` is ``upstream`` (its registry said yes, last at ``confirmed_at``) or ``operator`` (an import).
    ``checked_at``: when upstream last said where the tag points. ``upstream`` is the one whose budget the bytes count
    in."""

    repository_name: str
    image_digest: str
    image_tags: tuple[str, ...]
    media_type: str
    platform: str | None
    size: int  # of the manifest itself
    image_size_in_bytes: int  # all that is held of it
    shared_bytes: int
    missing: int  # parts that are not held
    upstream: str
    cached_at: float
    used_at: float
    checked_at: float | None
    granted_by: str
    confirmed_at: float | None
    pinned_by: str | None
    subject: str | None
    also_in: tuple[str, ...]
    indexes: tuple[str, ...]
    referrers: tuple[InspectedReferrer, ...]


_LISTED: TypeAdapter[RepositoryLine | ImageLine | ListEnd] = TypeAdapter(RepositoryLine | ImageLine | ListEnd)
_INSPECTED: TypeAdapter[InspectedImage | InspectedPart] = TypeAdapter(InspectedImage | InspectedPart)

LIST = Operation("list", ListRequest, _LISTED)
INSPECT = Operation("inspect", InspectRequest, _INSPECTED)
