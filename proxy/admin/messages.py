"""What is asked of a running proxy and what it answers: one request for each operation, and the lines that tell what it
does. The listener writes these, commands and pages read them.

On the wire they are JSON with the names of ECR's API (``imageDigest``). Sizes are bytes, times seconds since the epoch.
"""

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic.alias_generators import to_camel

Q = TypeVar("Q", bound="AdminRequest")
L = TypeVar("L")


class AdminRequest(BaseModel):
    """A request with a word too many is refused: it might be a word that was to hold something back."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Message(BaseModel):
    """An answer, or a part of one. Words of a newer version are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, validate_by_name=True)


class NothingMore(AdminRequest):
    """A request that needs no words."""


# ---------------------------------------------------------------- lifecycle


class ReviewRequest(AdminRequest):
    """``policy`` is JSON text to try instead of the configuration's, which nothing can be applied by; ``repository`` a
    pattern over REGISTRY/REPOSITORY."""

    policy: str | None = None
    extensions: bool = False
    repository: str = "*"


class ReviewAction(Message):
    type: Literal["EXPIRE", "TRANSITION"]
    target_storage_class: str | None = None


class ReviewedImage(Message):
    """One image that a rule chose. ``stays``: pinned or in use; ``freed``: its manifest's bytes go too."""

    image_digest: str
    image_tags: tuple[str, ...]
    image_pushed_at: float
    action: ReviewAction
    applied_rule_priority: int
    storage_class: str
    stays: bool = False
    freed: bool = False
    image_size_in_bytes: int = 0


class StorageClassCount(Message):
    target_storage_class: str
    image_total_count: int


class ReviewCounts(Message):
    """ECR's own summary, of the images of one line."""

    expiring_image_total_count: int = 0
    transitioning_image_total_counts: tuple[StorageClassCount, ...] = ()


class ReviewPortion(Message):
    """Some images of one repository, a large one has several portions. ``images`` is how many the repository has;
    ``freed_bytes`` is the whole repository's, told with its first portion."""

    repository_name: str
    images: int
    freed_bytes: int
    preview_results: tuple[ReviewedImage, ...]
    summary: ReviewCounts = ReviewCounts()


class ReviewSummary(Message):
    policies: bool  # whether there are any
    repositories: int
    images: int
    expired: int
    stays: int
    freed_bytes: int


class ReviewEnd(Message):
    summary: ReviewSummary


# ---------------------------------------------------------------- single contents


class PurgeRequest(AdminRequest):
    """``target``: a digest, or a pattern over REGISTRY/REPOSITORY with :TAG, @DIGEST or nothing behind it. With
    ``preview`` nothing goes; with ``force`` pins hold nothing back."""

    target: str
    preview: bool = False
    force: bool = False


class PurgedContent(Message):
    """``repository_name`` is None for content that was meant wherever it is held; ``pinned_by`` the pattern of a pin
    that holds it, None where something else does."""

    repository_name: str | None
    image_digest: str
    image_tags: tuple[str, ...]
    stays: bool
    pinned_by: str | None = None


class PurgePortion(Message):
    purged: tuple[PurgedContent, ...]
    freed_bytes: int


class PurgeSummary(Message):
    purged: int
    stays: int
    freed_bytes: int
    pinned: int = 0  # of those that stay


class PurgeEnd(Message):
    summary: PurgeSummary


class PinsRequest(AdminRequest):
    """``pin`` or ``unpin``: a pattern; neither lists."""

    pin: str | None = None
    unpin: str | None = None


class PinEntry(Message):
    pattern: str
    origin: str  # ``configuration`` or ``command``


class PinsResult(Message):
    """``known``: what was to be unpinned was pinned by command. ``matches`` and ``matched_bytes`` count what a new pin
    holds already."""

    known: bool
    pins: tuple[PinEntry, ...]
    matches: int | None = None
    matched_bytes: int | None = None


class VerifyRequest(AdminRequest):
    """``rate``: bytes per second, as a number or written as people do."""

    rate: str | int | None = None


class BadContent(Message):
    bad: str  # its digest
    size: int


class VerifyCounts(Message):
    contents: int
    bytes: int


class VerifyProgress(Message):
    progress: VerifyCounts


class VerifySummary(VerifyCounts):
    bad: int


class VerifyEnd(Message):
    summary: VerifySummary


# ---------------------------------------------------------------- the configuration


class ReloadResult(Message):
    """``refused`` is why, empty where the configuration was taken. ``changed`` names settings that differ from those in
    force before; ``applied`` those of them that hold now; ``needs_restart`` all that differ from those of the start and
    hold only after the next one."""

    at: float
    refused: str = ""
    changed: tuple[str, ...] = ()
    applied: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()
    policies: int = 0
    pins: int = 0

    @property
    def told(self) -> str:
        """What happened, for people."""
        if self.refused:
            return f"the configuration is refused, all stays as it was: {self.refused}"
        said = [f"changed: {', '.join(self.changed)}" if self.changed else "nothing has changed"]
        if self.applied:
            said.append(f"applied: {', '.join(self.applied)}")
        if self.needs_restart:
            said.append(f"needs a restart: {', '.join(self.needs_restart)}")
        return f"{'; '.join(said)} ({self.policies} lifecycle policies and {self.pins} pins are in force)"


# ---------------------------------------------------------------- operations


@dataclass(frozen=True)
class Operation(Generic[Q, L]):
    """``POST /api/v1/NAME`` with a request of at most ``largest`` bytes, answered by lines."""

    name: str
    request: type[Q]
    lines: TypeAdapter[L]
    largest: int = 1 << 20


_REVIEWS: TypeAdapter[ReviewPortion | ReviewEnd] = TypeAdapter(ReviewPortion | ReviewEnd)
_PURGES: TypeAdapter[PurgePortion | PurgeEnd] = TypeAdapter(PurgePortion | PurgeEnd)
_CHECKS: TypeAdapter[BadContent | VerifyProgress | VerifyEnd] = TypeAdapter(BadContent | VerifyProgress | VerifyEnd)

PREVIEW = Operation("lifecycle/preview", ReviewRequest, _REVIEWS)
APPLY = Operation("lifecycle/apply", ReviewRequest, _REVIEWS)
PURGE = Operation("purge", PurgeRequest, _PURGES)
PINS = Operation("pins", PinsRequest, TypeAdapter(PinsResult))
VERIFY = Operation("verify", VerifyRequest, _CHECKS)
RELOAD = Operation("reload", NothingMore, TypeAdapter(ReloadResult))


def encode(message: Message) -> bytes:
    """One line of JSON without its end."""
    return message.model_dump_json(by_alias=True, exclude_unset=True).encode()
