"""What the cache asks of a registry behind it. One ``Registry`` is one configured upstream.

All faults come out as kinds of ``core.errors``: never a library's exception, never a status.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from proxy.core.names import Digest, Reference


class FetchedManifest(NamedTuple):
    raw: bytes  # exactly as received
    digest: Digest  # computed from ``raw``, never believed
    media_type: str  # without parameters


class TagsPage(NamedTuple):
    tags: Sequence[str]
    next_last: str | None  # the opaque ``last`` of upstream's Link rel="next"; None at the end


class ReferrersPage(NamedTuple):
    raw: bytes  # a JSON index
    filtered: bool  # upstream applied the artifactType filter
    next_query: str | None  # the query of upstream's Link rel="next", with no host; None at the end


class Pong(NamedTuple):
    """What a registry says at ``/v2/``: to nobody first, and then to us."""

    status: int  # to nobody
    scheme: str  # that its challenge asks for, in lower case; empty where there is none
    date: str  # its Date header; empty where there is none
    signed_in: bool  # it took what we are authorized with, an anonymous token too
    why: str = ""  # where it did not, or there was nothing to be had to sign in with


class Transfer(Protocol):
    """The body of one blob request, positioned at ``offset``. Its blocking calls belong to one mover thread;
    ``interrupt`` may come from any."""

    size: int | None  # bytes of the whole blob, where upstream said it
    offset: int  # where the first byte of the body stands in the blob

    def readinto(self, buffer: memoryview) -> int:
        """Fills as much of ``buffer`` as has come (waits for at least one byte); 0 at the clean end of the body.
        Blocks. Raises UpstreamTimeout (nothing for 30 s, or under 32 KiB/s over 60 s), UpstreamUnreachable (reset,
        fewer bytes than promised)."""

    def interrupt(self) -> None:
        """Wakes a blocked ``readinto``, which then raises UpstreamUnreachable."""

    def close(self) -> None:
        """Gives the connection back for reuse where the body was read to its end, closes it otherwise. Idempotent."""


class Registry(Protocol):
    """Each call retries, follows redirects and refreshes tokens by itself. Raised by all: UpstreamUnreachable,
    UpstreamTimeout, UpstreamFailed, RateLimited, UpstreamRefused, UpstreamBroken."""

    name: str

    async def manifest(self, name: str, reference: Reference) -> FetchedManifest:
        """GET. For a digest the bytes are verified. Raises ManifestUnknown or NameUnknown."""

    async def manifest_digest(self, name: str, reference: Reference) -> Digest:
        """HEAD: where the tag points now, at no cost of quota; a GET where upstream sends no digest header.
        Raises ManifestUnknown or NameUnknown."""

    async def blob(self, name: str, digest: Digest, offset: int = 0, end: int | None = None) -> Transfer:
        """GET, with a Range where ``offset`` > 0; then ``end`` may bound it: bytes up to, not including, that one are
        wanted. Returns once the final answer's headers are in. An upstream that ignores the Range gives a transfer
        whose ``offset`` is 0. Raises BlobUnknown or NameUnknown."""

    async def has_blob(self, name: str, digest: Digest) -> bool:
        """May this repository's readers have the blob? A GET of which only the first answer is looked at: 2xx or a
        redirect is yes, 404 is no. Never a HEAD (ECR Public answers 401 to each, presigned URLs 403)."""

    async def blob_size(self, name: str, digest: Digest) -> int | None:
        """Bytes of the blob, None where upstream does not say; no body is transferred for it.
        Raises BlobUnknown or NameUnknown."""

    async def tags(self, name: str, limit: int | None, last: str | None) -> TagsPage:
        """Raises NameUnknown."""

    async def referrers(self, name: str, digest: Digest, query: str) -> ReferrersPage:
        """``query`` is the encoded query to send. Raises ReferrersUnsupported for anything but a JSON index."""

    async def close(self) -> None: ...
