"""What a bundle consists of, one after the other: of an archive its members, of a folder the files that a layout has.

Of a folder only names of the layout are looked at, through open folders, and no link is followed: nothing outside it
can be read by it.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
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


class EntryBody(Protocol):
    """Bytes of one entry, from front to back."""

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes, none at the end. Raises BundleRefused."""


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
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, count: int) -> bytes:
        return os.read(self._descriptor, min(count, 1 << 20))

    def close(self) -> None:
        os.close(self._descriptor)


def _in_folder(path: Path) -> Iterator[Entry]:
    root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for number, (folder, name) in enumerate(_names(root)):
            with closing(_OpenFolder(root, folder)) as opened:
                entry = opened.entry(number, name)
                if entry is not None:
                    with closing(entry.body):
                        yield Entry(*entry)
    finally:
        os.close(root)


def _names(root: int) -> Iterator[tuple[str, str]]:
    """Folder and name, in an order of their own."""
    yield from (("", name) for name in DOCUMENTS)
    for algorithm in ALGORITHMS:
        folder = f"blobs/{algorithm}"
        with closing(_OpenFolder(root, folder)) as opened:
            yield from ((folder, name) for name in opened.names())


class _OpenEntry(NamedTuple):
    """An entry of a folder, whose body is to be closed."""

    number: int
    name: str
    kind: MemberKind
    size: int
    target: str
    body: _FileBody


class _OpenFolder:
    """Below ``root``, each step through an open folder; empty where it is not there or leads elsewhere."""

    def __init__(self, root: int, path: str) -> None:
        self._path = path
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

    def entry(self, number: int, name: str) -> _OpenEntry | None:
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
        full = "/".join(filter(None, (self._path, name)))
        return _OpenEntry(number, full, MemberKind.FILE, found.st_size, "", _FileBody(file))
