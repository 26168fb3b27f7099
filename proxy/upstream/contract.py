"""What the cache asks of a registry behind it. One ``Registry`` is one configured upstream.

All faults come out as kinds of ``core.errors``: never a library's exception, never a status.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from proxy.core.manifests import ManifestFacts
from proxy.core.names import Digest, Reference
from proxy.core.second_hand import NO_REMARKS, Remarks, SecondHand
from proxy.core.transfer import Transfer
from proxy.upstream.challenge import Challenge


class FetchedManifest(NamedTuple):
    """A manifest that the upstream sent in full."""

    raw: bytes  # exactly as received
    digest: Digest  # computed from ``raw``, never believed; of a signed schema 1 manifest, from its payload
    facts: ManifestFacts
    is_signed: bool = False  # schema 1, whose digest is that of its payload and not of ``raw``
    remarks: Remarks = NO_REMARKS


class Pointed(NamedTuple):
    """Where a reference points."""

    digest: Digest
    remarks: Remarks = NO_REMARKS


class TagsPage(NamedTuple):
    """A page of tags in the upstream's order."""

    tags: Sequence[str]
    next_query: str | None  # the query of upstream's Link rel="next", opaque, with no host; None at the end
    second_hand: SecondHand | None = None


class PingResult(NamedTuple):
    """What the registry says to ``GET /v2/`` (distribution-spec "Determining Support")."""

    status: int  # of the final answer, with our authorization where it was asked for
    challenges: tuple[Challenge, ...]  # what it asked for; empty where it let us in at once
    date: str | None  # its clock, as it wrote it
    accepted: bool | None  # our credentials; None where none are configured or none were asked for
    why: str = ""  # they were refused, in a sentence
    unread: bool = False  # they could not be had by ourselves
    disbelieved: bool = False  # it is the login itself that was refused, and not a right that it lacks


class ReferrersPage(NamedTuple):
    """A page of referrers as it came."""

    raw: bytes  # a JSON index
    filtered: bool  # upstream applied the artifactType filter
    next_query: str | None  # the query of upstream's Link rel="next", with no host; None at the end
    second_hand: SecondHand | None = None


class Registry(Protocol):
    """Each call retries, follows redirects and refreshes tokens by itself. Raised by all: UpstreamUnreachable,
    UpstreamTimeout, UpstreamFailed, RateLimited, CredentialsFailed, UpstreamRefused, UpstreamBroken.

    A call that returns is upstream's own final yes: every redirect was followed, and the answer fits the question.
    """

    name: str
    forwards: bool  # another one is asked in its place, such as a cache that may have been asked for our sake

    async def manifest(self, name: str, reference: Reference) -> FetchedManifest:
        """GET. Raises ManifestUnknown or NameUnknown, and WrongBytes where the bytes are not those of
        the digest asked for."""

    async def manifest_digest(self, name: str, reference: Reference) -> Pointed:
        """HEAD: where the tag points now, at no cost of quota; a GET where upstream sends no digest header or refuses
        the HEAD. Raises ManifestUnknown or NameUnknown, which a GET has said."""

    async def blob(self, name: str, digest: Digest, offset: int = 0, end: int | None = None) -> Transfer:
        """GET, with a Range where ``offset`` > 0; then ``end`` may bound it: bytes up to, not including, that one are
        wanted. Returns once the headers of a final 200 or 206 are in whose length and Content-Range fit. An upstream
        that ignores or refuses the Range gives a transfer whose ``offset`` is 0. Raises BlobUnknown or NameUnknown."""

    async def check_blob(self, name: str, digest: Digest, size: int | None) -> None:
        """May this repository's readers have the blob? Returns for a final 200 or 206 that says ``size`` bytes, any
        number where that is None: the blob is on its way and its size not known yet. Raises BlobUnknown or NameUnknown
        where the registry says that it is not there; everything else is no answer: a storage host that refuses, another
        size, UpstreamBroken. One byte is asked for at most, by GET: ECR Public answers 401 to each HEAD, presigned URLs
        403."""

    async def blob_size(self, name: str, digest: Digest) -> int | None:
        """Bytes of the blob, None where upstream does not say; no body is transferred for it.
        Raises BlobUnknown or NameUnknown."""

    def reconnect(self) -> None:
        """What is asked from now on goes over new connections."""

    async def ping(self) -> PingResult:
        """``GET /v2/`` by the way that pulls take: first bare, then as the challenge wants it. A token server is really
        asked, with the configured credentials, so that wrong ones show. Raises Outage kinds and UpstreamBroken."""

    async def tags(self, name: str, query: str) -> TagsPage:
        """``query`` is the encoded query to send. Raises NameUnknown."""

    async def referrers(self, name: str, digest: Digest, query: str) -> ReferrersPage:
        """``query`` is the encoded query to send. Raises ReferrersUnsupported for anything but a JSON index."""

    async def close(self) -> None:
        """Whoever waits for an answer is told UpstreamUnreachable; transfers go on. Idempotent."""
