"""What a bundle consists of, one after the other: of an archive its members, of a folder the files that a layout has.

Of a folder only names of the layout are looked at, through open folders, and no link is followed: nothing outside it
can be read by it.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import NamedTuple, Protocol

from proxy.bundles.flows import flowing, is_hollow
from proxy.bundles.refusal import BundleRefused
from proxy.bundles.tar import MemberKind, tar_members

LIST, SIGNATURE = "entrepot.json", "entrepot.json.sig"
LAYOUT, INDEX, DOCKER = "oci-layout", "index.json", "manifest.json"
DOCUMENTS = (LAYOUT, INDEX, DOCKER, LIST, SIGNATURE)
ALGORITHMS = ("sha256", "sha512")

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def blob_name(digest: str) -> str:
    """Where a blob stands in a layout (image-spec, "Image Layout")."""
    return f"blobs/{digest.replace(':', '/', 1)}"


class Readable(Protocol):
    """Bytes from front to back."""

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes, none at the end. Raises BundleRefused."""


class EntryBody(Readable, Protocol):
    """Those of one entry."""

    def pass_over(self) -> None:
        """What was not read is there, and is not wanted. Raises BundleRefused where it is not there."""


class Entry(NamedTuple):
    """``number`` is the same each time that the bundle is read. ``body`` is good until the next entry is asked for."""

    number: int
    name: str
    kind: MemberKind
    size: int  # bytes
    target: str  # of a link
    body: EntryBody


@contextmanager
def entries_of(path: Path) -> Iterator[Iterator[Entry]]:
    """Raises BundleRefused, also on the way: what came before is good."""
    try:
        if path.is_dir():
            yield _in_folder(path)
        else:
            with flowing(path) as flow:
                yield (
                    Entry(number, member.name, member.kind, member.size, member.target, member)
                    for number, member in enumerate(tar_members(flow))
                )
    except OSError as cause:
        raise BundleRefused(f"it cannot be read: {cause.strerror or cause}") from cause


class _FileBody:
    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.size = size

    def read(self, count: int) -> bytes:
        return os.read(self._descriptor, min(count, 1 << 20))

    def pass_over(self) -> None:
        """As ``EntryBody.pass_over``."""

    def close(self) -> None:
        os.close(self._descriptor)


def _in_folder(path: Path) -> Iterator[Entry]:
    root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    numbers = count()
    try:
        for folder in ("", *(f"blobs/{algorithm}" for algorithm in ALGORITHMS)):
            with closing(_OpenFolder(root, folder)) as opened:
                for name in opened.names() if folder else DOCUMENTS:
                    number = next(numbers)
                    body = opened.file(name)
                    if body is not None:
                        with closing(body):
                            full = f"{folder}/{name}" if folder else name
                            yield Entry(number, full, MemberKind.FILE, body.size, "", body)
    finally:
        os.close(root)


class _OpenFolder:
    """Below ``root``, each step through an open folder; empty where it is not there or leads elsewhere."""

    def __init__(self, root: int, path: str) -> None:
        self._descriptor: int | None = os.dup(root)
        for step in filter(None, path.split("/")):
            before, self._descriptor = self._descriptor, None
            with suppress(OSError):
                self._descriptor = os.open(step, _FOLDER, dir_fd=before)
            os.close(before)
            if self._descriptor is None:
                return

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def names(self) -> list[str]:
        """In order."""
        return sorted(os.listdir(self._descriptor)) if self._descriptor is not None else []

    def file(self, name: str) -> _FileBody | None:
        """None where there is no such regular file."""
        if self._descriptor is None:
            return None
        try:
            file = os.open(name, _FILE, dir_fd=self._descriptor)
        except OSError:
            return None
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or is_hollow(found):
            os.close(file)
            return None
        return _FileBody(file, found.st_size)
