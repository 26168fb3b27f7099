"""What a client may ask for: the six operations of a pull (OCI distribution-spec, "Endpoints"), and a token."""

from dataclasses import dataclass
from typing import ClassVar

from proxy.core.names import Digest, Reference, Repository
from proxy.core.ranges import AskedRange


@dataclass(frozen=True, slots=True)
class Ping:
    """Is this a registry?"""

    kind: ClassVar[str] = "ping"
    repository: ClassVar[None] = None


@dataclass(frozen=True, slots=True)
class ManifestPull:
    kind: ClassVar[str] = "manifest"
    repository: Repository
    reference: Reference
    known: str | None  # If-None-Match


@dataclass(frozen=True, slots=True)
class BlobPull:
    kind: ClassVar[str] = "blob"
    repository: Repository
    digest: Digest
    range: AskedRange | None
    known: str | None  # If-None-Match


@dataclass(frozen=True, slots=True)
class TagList:
    kind: ClassVar[str] = "tags"
    repository: Repository
    limit: int | None
    query: str  # the client's, encoded, with no larger ``n`` than ``limit``


@dataclass(frozen=True, slots=True)
class ReferrersList:
    kind: ClassVar[str] = "referrers"
    repository: Repository
    digest: Digest
    query: str  # what of the client's query goes to upstream


@dataclass(frozen=True, slots=True)
class CatalogList:
    kind: ClassVar[str] = "catalog"
    repository: ClassVar[None] = None
    limit: int | None
    last: str | None


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """A token of ours for a login (distribution, "Token Authentication Specification")."""

    kind: ClassVar[str] = "token"
    repository: ClassVar[None] = None
    scopes: tuple[str, ...]  # as the client wrote them


Operation = Ping | ManifestPull | BlobPull | TagList | ReferrersList | CatalogList | TokenGrant
"""``kind`` is the label of the metrics; ``repository`` is None where it is about none."""
