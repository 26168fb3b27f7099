"""What people name to be warmed: one image by tag or digest, or some tags of a repository.

``alpine``, ``ghcr.io/o/i:tag``, ``…@sha256:…``; a tag with a star or a question mark is a glob, and one that begins as
no tag can (``^1.27``, ``~1.27.1``, ``>=1.26 <2``) a range of versions.
"""

from typing import NamedTuple, Self

from proxy.core.errors import DigestInvalid, NameInvalid, TagInvalid
from proxy.core.image_names import repository_named
from proxy.core.names import Digest, Reference, Repository, Tag
from proxy.core.patterns import ContentPattern
from proxy.warm.versions import TagChoice

LATEST = Tag("latest")
LONGEST = 1024  # characters of a reference
_OF_RANGES = frozenset("^~<>=")


class WantedImage(NamedTuple):
    """One that has a name."""

    repository: Repository
    reference: Reference

    def __str__(self) -> str:
        separator = "@" if isinstance(self.reference, Digest) else ":"
        return f"{self.repository}{separator}{self.reference}"


class WantedTags(NamedTuple):
    """Those of a repository's tags that are meant when it is looked at."""

    repository: Repository
    choice: TagChoice

    @classmethod
    def of(cls, repository: str, choice: TagChoice) -> Self:
        """Raises ValueError with advice."""
        choice.demand_good()
        return cls(_repository(repository), choice)

    def __str__(self) -> str:
        return f"{self.repository}:{self.choice}"


Wanted = WantedImage | WantedTags


def parse_wanted(written: str, newest: int | None = None) -> Wanted:
    """``newest`` is how many are meant of a glob or a range. Where there are a tag and a digest the digest counts.
    Raises ValueError with advice."""
    if len(written) > LONGEST:
        raise ValueError(f"more than {LONGEST} characters")
    found = ContentPattern.parse(written)
    try:
        repository = _repository(found.repository)
        if found.digest is not None:
            return WantedImage(repository, Digest.parse(found.digest))
        if found.tag is None:
            return WantedImage(repository, LATEST)
        if found.tag[:1] in _OF_RANGES:
            return WantedTags.of(found.repository, TagChoice(None, found.tag, newest))
        if "*" in found.tag or "?" in found.tag:
            return WantedTags.of(found.repository, TagChoice(found.tag, None, newest))
        return WantedImage(repository, Tag.parse(found.tag))
    except (TagInvalid, DigestInvalid) as wrong:
        raise ValueError(str(wrong)) from None


def _repository(written: str) -> Repository:
    try:
        return repository_named(written)
    except NameInvalid as wrong:
        raise ValueError(f"{wrong}: write REPOSITORY or REGISTRY/REPOSITORY") from None
