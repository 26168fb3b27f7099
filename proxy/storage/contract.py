"""What the first tier keeps: bytes by digest, and what is known of them.

A ``BlobStore`` keeps bytes and knows nothing of repositories. A ``Catalog`` keeps knowledge, under four contracts: what
we hold (``CatalogContents``), who may have it (``CatalogMemberships``), where tags point (``CatalogTags``), and notes
(``CatalogNotes``). Neither names a file path.

Invariant: bytes become visible under a digest only by ``Ingest.commit``, and then they are durable.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from proxy.core.graph import Membership, Node
from proxy.core.names import Digest, Repository, Tag
from proxy.storage.recoveries import Recovery


class BlobReader(Protocol):
    """Open bytes of one blob, held or still arriving. Stays readable after the blob is removed, until closed."""

    @property
    def size(self) -> int:
        """Bytes there when it was opened: for held content the whole size, as the home says and not as the catalog
        says."""

    @property
    def proven_at(self) -> float:
        """When its bytes were last compared with their digest, as the home wrote it down, in seconds since the epoch;
        0 of what arrives."""

    def fileno(self) -> int:
        """A descriptor for kernel copies (``os.sendfile``), owned by the reader; -1 once it is closed."""

    def read(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``offset``; fewer only at the end. Blocks: call it off the loop.
        Raises StoreFailed."""

    def close(self) -> None:
        """Idempotent."""


class Ingest(Protocol):
    """Bytes on their way in, without a name yet. Positional: spans may be written in any order, from several threads
    as long as they do not overlap. ``commit`` and ``abort`` end it; a second end does nothing."""

    def write(self, offset: int, content: bytes | memoryview) -> None:
        """Writes all of ``content`` at ``offset``. Blocks. Raises NoSpace (ENOSPC, EDQUOT, inodes) or StoreFailed."""

    def open(self) -> BlobReader:
        """A reader of the arriving bytes; it survives ``commit`` and ``abort``."""

    def commit(self, digest: Digest, size: int) -> None:
        """Makes exactly ``size`` bytes durable and visible under ``digest``: flush, sync, rename, sync the folder.
        The caller has verified the digest. Whatever was under that name before is replaced. Blocks.
        Raises NoSpace or StoreFailed, and the ingest is then aborted."""

    def abort(self) -> None:
        """Forgets the bytes. Blocks."""


class BlobStore(Protocol):
    """All methods block: call them off the loop."""

    def begin(self) -> Ingest:
        """Raises NoSpace or StoreFailed."""

    def open(self, digest: Digest) -> BlobReader:
        """Raises ContentMissing where there is no regular, whole file of that digest; StoreFailed on an I/O error."""

    def remove(self, digest: Digest) -> None:
        """Removes what is under the digest; nothing there is not an error. Raises StoreFailed."""

    def quarantine(self, digest: Digest) -> None:
        """Takes what is under the digest out of reach but keeps it for a person to look at; nothing there is not an
        error. At most a bounded number of bytes is kept so."""

    def quarantined(self) -> int:
        """Bytes that are kept so. Raises StoreFailed."""

    def mark_proven(self, digest: Digest, at: float) -> None:
        """Its bytes were compared with the digest then, and agreed. Raises ContentMissing or StoreFailed; a home that
        cannot write it down says nothing."""

    def shards(self) -> Iterator[list[tuple[Digest, int]]]:
        """Everything held, as (digest, size), in some hundred portions that are each sorted by digest and never
        mix two algorithms; foreign files are passed over. Portion k holds the digests whose first two hex digits
        are k, empty portions included."""

    def verify(self, digest: Digest) -> bool:
        """Reads all bytes and compares. False for wrong bytes. Raises ContentMissing or StoreFailed."""

    def sweep(self) -> int:
        """Removes ingests that no running process owns; returns how many."""

    def recover(self) -> None:
        """Makes again what vanished of the home, and tries out whether it takes bytes again where it took none. Called
        every few seconds. Raises NoSpace or StoreFailed."""

    def free_space(self) -> tuple[int, int]:
        """(bytes that can still be written, bytes in all) of the home."""


class Content(NamedTuple):
    """Something held."""

    digest: Digest
    size: int  # bytes
    media_type: str  # of a manifest, as its bytes or else the first upstream said; empty for a blob
    created_at: float  # seconds since the epoch: first cached
    used_at: float  # last served
    upstream: str = ""  # through which it was first fetched: its bytes count there; empty where nobody knows
    subject: Digest | None = None  # of a manifest that is about another


class Grant(Enum):
    """Who said that a repository has the content. Values are words on the disk."""

    UPSTREAM = "upstream"  # its registry's own yes
    OPERATOR = "operator"  # an import


class MembershipRecord(NamedTuple):
    """How content belongs to one repository."""

    media_type: str  # what is served to the repository's readers, as its upstream stated it; empty for a blob
    confirmed_at: float | None  # seconds since the epoch: when upstream last said yes; None while it never did
    grant: Grant = Grant.UPSTREAM


class RepositoryRecord(NamedTuple):
    """When upstream last said yes to anything of a repository, and no to all of it since; seconds since the epoch."""

    confirmed_at: float | None = None
    refused_at: float | None = None


class Witness(NamedTuple):
    """Something of a repository that upstream has confirmed, to ask after once more."""

    repository: Repository
    digest: Digest
    media_type: str  # of a manifest; empty for a blob


class Held(NamedTuple):
    """Something held, as the readers of one repository may have it."""

    content: Content
    membership: MembershipRecord


class Member(NamedTuple):
    """A repository that content belongs to, and how."""

    repository: Repository
    record: MembershipRecord


class TagRecord(NamedTuple):
    """Where a tag pointed when upstream was last asked."""

    digest: Digest
    checked_at: float  # seconds since the epoch


class Usage(NamedTuple):
    size: int  # bytes
    entries: int


class Tombstone(NamedTuple):
    """What was let go; its bytes may still be in the store."""

    digest: Digest
    size: int  # bytes; 0 where nobody knows
    upstream: str


class HeldImage(NamedTuple):
    """A held manifest as an image of one repository."""

    content: Content
    cached_at: float  # first cached in that repository
    tags: tuple[Tag, ...]  # in order
    manifests: tuple[Digest, ...]  # the held ones that it refers to: the children of an index
    size: int  # bytes, with everything held that it refers to


class Closure(NamedTuple):
    """What hangs together, as it was at one moment."""

    asked: tuple[Digest, ...]
    nodes: list[Node]  # by digest
    version: tuple[int, int]  # of the catalog then; compared, never ordered


class EvictionClass(Enum):
    """What goes as one when space is needed."""

    IMAGES = "images"  # manifests that no held index refers to and whose subject, if any, is not held
    ORPHANS = "orphans"  # blobs that no held manifest refers to


class Cursor(NamedTuple):
    """A position in an order of last use."""

    used_at: float
    digest: str


FIRST_CURSOR = Cursor(float("-inf"), "")


class CatalogContents(Protocol):
    """What is held. Sizes in bytes, times in seconds since the epoch."""

    async def get(self, digest: Digest) -> Content | None:
        """The content, if it is held, whoever may have it."""

    async def add(
        self, content: Content, children: Sequence[Digest] = (), member: Member | None = None
    ) -> Content | None:
        """Content is held from now on, and a member if ``member`` is given, as for ``allow``. ``children`` are what a
        manifest refers to. Adding again replaces size and subject, keeps the first created_at and upstream, and never
        makes a blob of a manifest. Returns what was held before under the digest."""

    async def forget(self, digests: Sequence[Digest]) -> list[Content]:
        """No longer held; returns what was. Memberships and tags stay: they are knowledge about upstream."""

    async def touch(self, uses: Mapping[Digest, float]) -> None:
        """Last-use times, in one batch; unknown digests are passed over, a time never moves back. The use of a manifest
        is also one of the indexes that refer to it."""

    async def usage_by_upstream(self) -> Mapping[str, Usage]:
        """Bytes and number of everything held, by ``Content.upstream``. Cheap with a million entries."""

    async def between(self, first: str, last: str) -> list[Content]:
        """What is held with first <= digest < last, in order: one portion of a comparison with the store."""

    async def idle(
        self, eviction_class: EvictionClass, after: Cursor, limit: int, upstream: str | None = None
    ) -> list[Content]:
        """What is of the class, least recently used first, then by digest, strictly after the cursor; of one upstream
        if that is given."""

    async def images(self, repository: Repository, after: str, limit: int) -> list[HeldImage]:
        """The images of a repository by digest, strictly after that one."""

    async def closure(self, digests: Sequence[Digest]) -> Closure:
        """These, as far as they are held, with all their held descendants and referrers. A blob that was not asked for
        itself has no places."""

    async def release(
        self, memberships: Sequence[Membership], freed: Sequence[Digest], expected: Closure
    ) -> list[tuple[Repository, Tag]] | None:
        """In one step: the memberships are gone, and the tags of those repositories that point to those digests, which
        are returned; what is freed is no longer held, nor a member of anything, but a tombstone until it is cleared or
        added again. None, with nothing done, where the closure is not as ``expected`` any more: decide again."""

    async def tombstones(self, limit: int) -> list[Tombstone]:
        """What was released and not cleared: its bytes may still be in the store."""

    async def clear_tombstones(self, digests: Sequence[Digest]) -> None:
        """Their bytes are gone."""

    async def clamp(self, first: str, last: str, earliest: float, latest: float) -> int:
        """Of what is held with first <= digest < last: when it was cached and served becomes ``latest`` where it is
        later, or before ``earliest``. Returns how many were."""

    async def compact(self, size: int) -> int:
        """Gives up to ``size`` bytes of its own unused space back to the home; returns how many are still unused."""


class CatalogMemberships(Protocol):
    """Who may have what, held or not."""

    async def allow(self, repository: Repository, digest: Digest, record: MembershipRecord) -> None:
        """The repository has this digest. What was known stays where the new record says nothing of it: a later
        ``confirmed_at``, a media type. Of upstream's yes and an operator's order the later one is whose grant it is. A
        confirmation renews the repository."""

    async def allowed(self, repository: Repository, digest: Digest) -> MembershipRecord | None:
        """None where nobody said so, or it was taken back since."""

    async def held(self, repository: Repository, digest: Digest) -> Held | None:
        """The content, if it is held and a member of the repository, with that membership."""

    async def disallow(self, repository: Repository, digest: Digest) -> None:
        """Upstream said that the repository does not have this digest (any more)."""

    async def repository(self, repository: Repository) -> RepositoryRecord | None:
        """None where nothing is known of the repository."""

    async def renew(self, repository: Repository, at: float) -> None:
        """Upstream said yes to something of it, and takes a refusal back."""

    async def suspend(self, repository: Repository, at: float) -> None:
        """Upstream refused all of it."""

    async def upstreams(self, digest: Digest) -> set[str]:
        """Those of which a repository was confirmed to have this digest."""

    async def witness(self, beside: Repository) -> Witness | None:
        """Of another repository of the same upstream, which was confirmed last and has not been refused since."""

    async def repositories(self, after: tuple[str, str] | None, limit: int) -> list[Repository]:
        """Repositories with at least one held manifest, in order, strictly after ``after``."""

    async def referrers(self, repository: Repository, subject: Digest) -> list[Held]:
        """The repository's held manifests that are about ``subject``, by digest."""

    async def indexes(self, repository: Repository, child: Digest) -> list[Held]:
        """The repository's held manifests that refer to ``child``, held or not, the last used first; at most 16."""


class CatalogTags(Protocol):
    """Where tags point."""

    async def get(self, repository: Repository, tag: Tag) -> TagRecord | None:
        """None where it is not known."""

    async def set(self, repository: Repository, tag: Tag, record: TagRecord) -> None:
        """It points there from now on."""

    async def drop(self, repository: Repository, tag: Tag) -> None:
        """It is not known any more; nothing happens where it was not."""

    async def list(self, repository: Repository, after: str, limit: int) -> list[Tag]:
        """Tags that point to what is held and a member of the repository, in order, strictly after ``after``."""


class CatalogNotes(Protocol):
    """What the process writes down for itself, and what a person pinned."""

    async def note(self, name: str) -> str | None:
        """What was written down under that name."""

    async def write_note(self, name: str, text: str) -> None:
        """Replaces what was written there."""

    async def pins(self) -> list[str]:
        """The patterns that were pinned, in order."""

    async def pin(self, pattern: str) -> None:
        """Nothing happens where it is pinned already."""

    async def unpin(self, pattern: str) -> bool:
        """False where it was not pinned."""


class Catalog(Protocol):
    """All calls are coroutines that never block the loop, and raise StoreFailed, or NoSpace where the disk is full.
    Writes are visible to the next call; they are durable after a crash of the process, and after a power cut but for
    the last moments (content is then found again by a scan, membership by one upstream check)."""

    @property
    def contents(self) -> CatalogContents: ...

    @property
    def memberships(self) -> CatalogMemberships: ...

    @property
    def tags(self) -> CatalogTags: ...

    @property
    def notes(self) -> CatalogNotes: ...

    @property
    def recovered(self) -> Recovery:
        """May change while the process runs."""

    @property
    def recoveries(self) -> int:
        """How often it was brought back since the process runs."""

    async def recover(self) -> None:
        """Makes again what vanished of the home, and writes down what could only be kept in memory, where the home
        takes it again. Called every few seconds. Raises NoSpace or StoreFailed."""

    async def size(self) -> int:
        """Bytes that it takes in the home, with its copy and what was put aside. Raises StoreFailed."""

    async def backup(self) -> None:
        """A copy from which a lost catalog comes back, kept beside it. Nothing happens where nothing changed since the
        last one."""

    async def close(self) -> None:
        """Idempotent. Waits for what is under way."""
