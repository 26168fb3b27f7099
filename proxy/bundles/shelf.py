"""Several bundles, or volumes of one, as one: whatever lies in any of them is there for all images."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from proxy.bundles.entries import LIST, SIGNATURE, EntryBody, entries_of
from proxy.bundles.plan import Bringing, Library, brought
from proxy.bundles.refusal import BundleRefused
from proxy.bundles.signatures import PublicKey, demand_signed
from proxy.bundles.survey import LARGEST_BLOB, Survey, surveyed
from proxy.core.names import Digest, Repository


class Stated(NamedTuple):
    """The list of a bundle as it stands there."""

    raw: bytes
    signature: bytes | None


@dataclass(frozen=True, slots=True)
class Shelved:
    """Images that go in together: under one list, or under none."""

    images: tuple[Bringing, ...]
    stated: Stated | None


class Shelf:
    """``troubles`` are sentences on bundles that give nothing, or not all; ``passed_over`` on what is no part of
    one."""

    def __init__(self, paths: Sequence[Path], heard: Callable[[int], None], proven: int = LARGEST_BLOB) -> None:
        """Reads all of them. ``heard`` is told of bytes as they are read; of blobs up to ``proven`` bytes each is."""
        self.surveys = [surveyed(path, heard, proven) for path in paths]
        self.troubles = [f"{each.path}: {each.broken}" for each in self.surveys if each.broken]
        self.passed_over = [f"{each.path}: {line}" for each in self.surveys for line in each.passed_over]
        self._library = Library({digest: raw for each in self.surveys for digest, raw in each.manifests.items()})

    def has(self, digest: Digest) -> bool:
        """In any of them; or made of what is there."""
        return digest in self._library.raw or any(digest in each.contents for each in self.surveys)

    def images(self, repository: Repository | None, keys: Sequence[PublicKey]) -> Iterator[Shelved]:
        """By their lists; volumes of one bundle have the same. With ``keys`` one of them must have signed it; what
        cannot be taken goes to ``troubles``."""
        told: set[bytes | None] = {None}
        for survey in self.surveys:
            raw = survey.documents.get(LIST)
            if raw in told and raw is not None:
                continue
            told.add(raw)
            try:
                yield self._shelved(survey, repository, keys)
            except BundleRefused as cause:
                if not survey.broken and not survey.faults:
                    self.troubles.append(f"{survey.path}: {cause}")
            self.troubles += (f"{survey.path}: {fault}" for fault in survey.faults)

    def made(self, digests: Collection[Digest]) -> Iterator[tuple[Digest, bytes]]:
        """Those of the manifests that lie in no bundle, and were made here."""
        for digest in digests:
            if digest in self._library.raw and not any(digest in each.contents for each in self.surveys):
                yield digest, self._library.raw[digest]

    def bodies(self, survey: Survey, digests: Collection[Digest]) -> Iterator[tuple[Digest, int, EntryBody]]:
        """Digest, size and bytes of those that lie in one of the bundles, each once. Raises BundleRefused where it has
        changed since."""
        wanted = {found.number: digest for digest, found in survey.contents.items() if digest in digests}
        if not wanted:
            return
        with entries_of(survey.path) as entries:
            for entry in entries:
                if entry.number in wanted:
                    digest = wanted.pop(entry.number)
                    yield digest, survey.contents[digest].size, entry.body
                if not wanted:
                    break

    def _shelved(self, survey: Survey, repository: Repository | None, keys: Sequence[PublicKey]) -> Shelved:
        raw, signature = survey.documents.get(LIST), survey.documents.get(SIGNATURE)
        if keys:
            demand_signed(raw, signature, keys)
        stated = Stated(raw, signature) if raw is not None else None
        return Shelved(tuple(brought(survey, self._library, repository)), stated)
