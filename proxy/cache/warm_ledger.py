"""What a warming has done and is doing, for those who look at it meanwhile and at its end."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from proxy.cache.fill import FillBody
from proxy.core.errors import Absent, Fault, NoSpace, Outage, RequestFault, UpstreamOffline, UpstreamRefused
from proxy.core.names import Digest, Repository

CONTENTS_LIMIT = 200_000
"""Of one warming: ten thousand images of twenty contents."""


class NotBrought(Exception):
    """Why an image is not held whole, as an operator reads it. ``kind`` is a word of a closed set: ``reference``,
    ``unknown``, ``denied``, ``platform``, ``outage``, ``offline``, ``space`` or ``failed``."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind

    @classmethod
    def by(cls, fault: Fault) -> "NotBrought":
        """A fault in these words."""
        kinds = {
            Absent: "unknown",
            UpstreamRefused: "denied",
            UpstreamOffline: "offline",
            Outage: "outage",
            NoSpace: "space",
            RequestFault: "reference",
        }
        return cls(next((word for kind, word in kinds.items() if isinstance(fault, kind)), "failed"), str(fault))


class WarmedImage(NamedTuple):
    """What became of one. ``fetched`` are bytes that were not held; ``signatures`` counts manifests about it that are
    held with it, some of them ``named`` by tags; ``lacking`` are platforms of which it has none. ``refused`` is empty
    where it is held whole."""

    name: str
    digest: Digest | None = None
    contents: int = 0
    fetched: int = 0
    signatures: int = 0
    named: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    kind: str = ""
    refused: str = ""


class ArrivingBlob(NamedTuple):
    """Bytes; ``size`` is None while nobody knows."""

    repository: Repository
    digest: Digest
    received: int
    size: int | None


class WarmProgress(NamedTuple):
    """``total`` is as much as is known to be fetched, which grows while manifests are read; both in bytes."""

    images: int
    images_done: int
    total: int
    done: int
    arriving: tuple[ArrivingBlob, ...]


class WarmLedger:
    """Of one warming. ``largest`` is how many bytes of contents may be wanted."""

    def __init__(self, largest: int) -> None:
        self.expected = 0  # images
        self.results: list[WarmedImage] = []
        self._largest = largest
        self._wanted: set[Digest] = set()
        self._bytes = self._total = self._done = 0
        self._arriving: dict[Digest, tuple[Repository, FillBody]] = {}

    @property
    def failed(self) -> list[WarmedImage]:
        return [each for each in self.results if each.refused]

    @property
    def fetched(self) -> int:
        """Bytes."""
        return sum(each.fetched for each in self.results)

    def want(self, contents: dict[Digest, int]) -> None:
        """These sizes are to be held at its end. Raises NotBrought where that is more than there is room for, which
        would only drive out what came before."""
        new = {digest: size for digest, size in contents.items() if digest not in self._wanted}
        if len(self._wanted) + len(new) > CONTENTS_LIMIT:
            raise NotBrought("space", f"more than {CONTENTS_LIMIT} contents are wanted at once")
        if self._bytes + sum(new.values()) > self._largest:
            raise NotBrought("space", f"with it more is wanted than cache.max_size holds, {self._largest} bytes")
        self._wanted.update(new)
        self._bytes += sum(new.values())

    def fetch(self, size: int) -> None:
        """So many bytes are not held yet."""
        self._total += size

    def brought(self, size: int, came: int) -> None:
        """So many came of what was taken for ``size`` bytes; where none did they are not waited for any more."""
        self._done += came or size
        self._total += came - size if came else 0

    @contextmanager
    def watching(self, repository: Repository, digest: Digest, body: FillBody) -> Iterator[None]:
        """What comes of it meanwhile."""
        self._arriving[digest] = repository, body
        try:
            yield
        finally:
            self._arriving.pop(digest, None)

    def progress(self) -> WarmProgress:
        """As of now."""
        arriving = tuple(
            ArrivingBlob(repository, digest, body.received, body.size)
            for digest, (repository, body) in self._arriving.items()
        )
        done = self._done + sum(each.received for each in arriving)
        return WarmProgress(self.expected, len(self.results), max(self._total, done), done, arriving)
