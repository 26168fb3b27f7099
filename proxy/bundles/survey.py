"""What a bundle really holds: read once from front to back, next to nothing of it kept. All that may be a manifest is
hashed; of what is larger the proxy proves each byte when it comes, and here only who asks for it.

What is no part of a bundle is passed over, and told; what is damaged ends the reading, and what came before is good.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from proxy.bundles.entries import DOCKER, DOCUMENTS, INDEX, LIST, SIGNATURE, Entry, EntryBody, entries_of
from proxy.bundles.listing import LIST_LIMIT
from proxy.bundles.refusal import BundleRefused, shown
from proxy.bundles.tar import MemberKind
from proxy.core.errors import DigestInvalid
from proxy.core.names import Digest

_BLOB = re.compile(r"blobs/(sha256|sha512)/([0-9a-f]{64}|[0-9a-f]{128})", re.ASCII)
_LAYER = re.compile(r"(?:[^/]{1,128}/)?[^/]{1,128}\.(?:tar|tar\.gz|tgz|json)|sha256:[0-9a-f]{64}", re.ASCII)
_LEGACY = re.compile(r"(?:[^/]{1,128}/)?(?:VERSION|json|repositories)", re.ASCII)
_STEP = 1 << 20
_TOLD = 20  # of what is passed over
_KEPT = 64 << 20  # bytes of all manifests of a bundle
_LIMITS = {LIST: LIST_LIMIT, SIGNATURE: 1 << 10, INDEX: 64 << 20, DOCKER: 16 << 20}
SMALL = 4 << 20
"""Bytes of a manifest, at most."""
LARGEST_BLOB = 52 << 30
"""Bytes of a blob that is looked at: the largest layer that Amazon ECR takes."""


class ShelvedContent(NamedTuple):
    """Content of a bundle. ``number`` is its entry's."""

    size: int  # bytes
    number: int
    magic: bytes  # its first four


@dataclass(slots=True)
class Survey:
    """``members`` and ``links`` are those of a tarball of Docker's older form, by name. ``broken`` tells why the
    reading ended before the end, empty where it did not."""

    path: Path
    proven: int = LARGEST_BLOB  # bytes up to which a blob's are hashed
    documents: dict[str, bytes] = field(default_factory=dict)
    contents: dict[Digest, ShelvedContent] = field(default_factory=dict)
    manifests: dict[Digest, bytes] = field(default_factory=dict)
    kept: int = 0  # bytes of them
    members: dict[str, Digest] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    passed_over: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    broken: str = ""

    @contextmanager
    def telling(self) -> Iterator[None]:
        """What is wrong with one image is told in ``faults``, and costs the others nothing."""
        try:
            yield
        except (BundleRefused, DigestInvalid) as cause:
            if len(self.faults) < _TOLD:
                self.faults.append(str(cause))

    def passed(self, name: str, why: str) -> None:
        """It is no part of what is taken."""
        if len(self.passed_over) < _TOLD:
            self.passed_over.append(f"{shown(name)}: {why}")


def surveyed(path: Path, heard: Callable[[int], None], proven: int) -> Survey:
    """``heard`` is told of bytes as they are read; blobs larger than ``proven`` and ``SMALL`` are taken by their names.
    Never raises for what is in the bundle."""
    found = Survey(path, max(proven, SMALL))
    try:
        with entries_of(path) as entries:
            for entry in entries:
                _take(found, entry, heard)
    except BundleRefused as cause:
        found.broken = str(cause)
    return found


def _take(found: Survey, entry: Entry, heard: Callable[[int], None]) -> None:
    if entry.kind is MemberKind.LINK and len(entry.name) < 256 and len(entry.target) < 256:
        found.links.setdefault(entry.name, entry.target)  # a second name of a member, if it comes to that
    elif entry.name in DOCUMENTS and entry.kind is MemberKind.FILE:
        _document(found, entry)
    elif (blob := _BLOB.fullmatch(entry.name)) and entry.kind is MemberKind.FILE:
        _blob(found, entry, f"{blob[1]}:{blob[2]}", heard)
    elif _LAYER.fullmatch(entry.name) and entry.kind is MemberKind.FILE:
        _member(found, entry, heard)
    elif entry.kind is not MemberKind.OTHER and not _LEGACY.fullmatch(entry.name):
        found.passed(entry.name, "no part of a bundle")
    elif entry.kind is MemberKind.OTHER and not entry.name.endswith("/") and entry.name not in ("", "."):
        found.passed(entry.name, "neither a file nor a folder")


def _document(found: Survey, entry: Entry) -> None:
    if entry.name in found.documents:
        raise BundleRefused(f"{entry.name} stands in it twice")
    limit = _LIMITS.get(entry.name, 1 << 16)
    if entry.size > limit:
        raise BundleRefused(f"{entry.name} has more than {limit} bytes")
    found.documents[entry.name] = whole(entry.body, limit)


def _blob(found: Survey, entry: Entry, written: str, heard: Callable[[int], None]) -> None:
    try:
        digest = Digest.parse(written)
    except DigestInvalid:
        return found.passed(entry.name, "not the name of a blob")
    if digest in found.contents:
        return None
    if entry.size > LARGEST_BLOB:
        return found.passed(entry.name, "too large")
    if entry.size > found.proven:
        magic = _begun(entry.body)
        entry.body.pass_over()
        heard(entry.size)
        return _known(found, digest, ShelvedContent(entry.size, entry.number, magic), b"")
    proven, size, magic, kept = _hashed(found, entry, digest.algorithm, heard)
    if proven != digest:
        return found.passed(entry.name, "its bytes are not those of its name")
    return _known(found, digest, ShelvedContent(size, entry.number, magic), kept)


def _begun(body: EntryBody) -> bytes:
    """Its first four bytes."""
    magic = b""
    while len(magic) < 4 and (piece := body.read(4 - len(magic))):
        magic += piece
    return magic


def _member(found: Survey, entry: Entry, heard: Callable[[int], None]) -> None:
    if entry.name in found.members or entry.size > LARGEST_BLOB:
        return found.passed(entry.name, "stands in it twice, or is too large")
    digest, size, magic, _ = _hashed(found, entry, "sha256", heard)
    found.members[entry.name] = digest
    return _known(found, digest, ShelvedContent(size, entry.number, magic), b"")


def _known(found: Survey, digest: Digest, content: ShelvedContent, kept: bytes) -> None:
    found.contents.setdefault(digest, content)
    if kept:
        found.manifests[digest] = kept
        found.kept += len(kept)


def _hashed(
    found: Survey, entry: Entry, algorithm: str, heard: Callable[[int], None]
) -> tuple[Digest, int, bytes, bytes]:
    """Digest, size, first four bytes, and all of them where they may be a manifest."""
    state, size, kept = hashlib.new(algorithm), 0, bytearray()
    magic = b""
    while piece := entry.body.read(_STEP):
        state.update(piece)
        size += len(piece)
        heard(len(piece))
        if len(magic) < 4:
            magic = (magic + piece)[:4]
        if magic.startswith(b"{") and size <= SMALL:
            kept += piece
    small = size <= SMALL and found.kept + size <= _KEPT
    keep = small and any(word in kept for word in (b'"manifests"', b'"layers"'))
    return Digest.parse(f"{algorithm}:{state.hexdigest()}"), size, magic, bytes(kept) if keep else b""


def whole(body: EntryBody, limit: int) -> bytes:
    """All bytes. Raises BundleRefused where there are more than ``limit``."""
    found = bytearray()
    while piece := body.read(_STEP):
        found += piece
        if len(found) > limit:
            raise BundleRefused("more bytes than its size says")
    return bytes(found)
