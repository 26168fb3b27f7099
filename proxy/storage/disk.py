"""Bytes on a local file system.

blobs/<algorithm>/<2 hex>/<hex>   exactly the bytes of that digest, mode 0444
ingest/<random>                   bytes without a name yet
quarantine/                       what was found in the way, bounded
"""

import hashlib
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from proxy.core.errors import ContentMissing
from proxy.core.names import Digest
from proxy.storage.faults import fault_of, faults, reported
from proxy.storage.health import StorageHealth
from proxy.storage.home import Home
from proxy.storage.ingest import DiskIngest, DiskReader, Ingests
from proxy.storage.quarantine import BYTES_LIMIT, Quarantine, erase
from proxy.storage.seal import proven_at, seal
from proxy.storage.shards import Shards

log = logging.getLogger("entrepot.storage")

_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PROBE = bytes(4096)


def _nothing() -> None:
    """The folder needs no claim."""


class DiskStore:
    """The store below ``path``, a folder that only this process uses, as ``claim`` makes sure of where it has to be
    made again. Raises NoSpace or StoreFailed, and tells ``health`` what it cannot do: keep content (``store``), or
    remove it (``removal``). ``now`` gives seconds since the epoch, for the moment of a proof."""

    def __init__(
        self,
        path: Path,
        health: StorageHealth | None = None,
        now: Callable[[], float] = time.time,
        claim: Callable[[], object] = _nothing,
        quarantine_limit: int = BYTES_LIMIT,
    ) -> None:
        self.health = health or StorageHealth()
        self._now = now
        self._arriving: set[str] = set()
        with ExitStack() as opened, faults(f"open the store in {path}"):
            self._home = Home(path, claim)
            opened.callback(self._home.close)
            self._quarantine = Quarantine(lambda: self._home.quarantine, bytes_limit=quarantine_limit)
            self._shards = Shards(self._home, self._quarantine)
            self._ingests = Ingests(self._shards, self._home, self._arriving, self.health, now)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Gives the folders back once every ingest has ended; readers live on. Idempotent."""
        self._opened.close()

    def begin(self) -> DiskIngest:
        name = secrets.token_hex(16)
        self._arriving.add(name)  # before the file exists, so that a sweep never takes it for an orphan
        try:
            with reported(self.health, "store", "begin an ingest"):
                return self._new_ingest(name)
        except BaseException:
            self._arriving.discard(name)
            raise

    def _new_ingest(self, name: str) -> DiskIngest:
        try:
            folder = self._home.ingest
            return DiskIngest(self._ingests, name, folder, os.open(name, _NEW_FILE, 0o600, dir_fd=folder))
        except FileNotFoundError:
            if not self._home.renew():
                raise
        folder = self._home.ingest
        return DiskIngest(self._ingests, name, folder, os.open(name, _NEW_FILE, 0o600, dir_fd=folder))

    def open(self, digest: Digest) -> DiskReader:
        """A file whose seal is broken is read whole first, and is only given out if its bytes are good."""
        try:
            descriptor, found = self._shards.open(digest)
        except OSError as error:
            raise fault_of(error, f"open {digest}") from error
        proven = proven_at(found.st_mtime_ns)
        if proven is not None:
            return DiskReader(descriptor, found.st_size, proven)
        return self._sealed_again(descriptor, found.st_size, digest)

    def _sealed_again(self, descriptor: int, size: int, digest: Digest) -> DiskReader:
        reader = DiskReader(descriptor, size, self._now())
        try:
            with faults(f"verify {digest}"):
                good = _hashes_to(descriptor, digest)
        except BaseException:
            reader.close()
            raise
        if not good:
            reader.close()
            self.quarantine(digest)
            raise ContentMissing(f"the file of {digest} was changed and is in quarantine")
        _seal(descriptor, reader.proven_at)
        return reader

    def mark_proven(self, digest: Digest, at: float) -> None:
        with faults(f"mark {digest}"):
            descriptor, _ = self._shards.open(digest)
            try:
                _seal(descriptor, at)
            finally:
                os.close(descriptor)

    def remove(self, digest: Digest) -> None:
        with reported(self.health, "removal", f"remove {digest}"):
            self._shards.remove(digest)
        self.health.worked("removal")

    def quarantine(self, digest: Digest) -> None:
        with faults(f"quarantine {digest}"):
            self._shards.quarantine(digest)

    def quarantined(self) -> int:
        with faults("measure the quarantine"):
            return self._quarantine.size()

    def shards(self) -> Iterator[list[tuple[Digest, int]]]:
        with faults("list the store"):
            yield from self._shards.portions()

    def verify(self, digest: Digest) -> bool:
        with faults(f"verify {digest}"):
            descriptor, found = self._shards.open(digest)
            with closing(DiskReader(descriptor, found.st_size)) as reader:
                return _hashes_to(reader.fileno(), digest)

    def sweep(self) -> int:
        with reported(self.health, "sweep", "sweep the ingest folder"):
            folder = self._home.ingest
            swept = sum(self._erase(name, folder) for name in os.listdir(folder) if name not in self._arriving)
        self.health.worked("sweep")
        return swept

    def _erase(self, name: str, folder: int) -> bool:
        """One that the disk does not let go of keeps nobody from the others."""
        try:
            erase(name, folder)
        except FileNotFoundError:
            return False
        except OSError as cause:
            log.warning("ingest/%s is left over and cannot be removed: %s", name, cause.strerror)
            return False
        return True

    def recover(self) -> None:
        with reported(self.health, "store", "make the folders of the store"):
            self._home.renew()
        if "sweep" in self.health.trouble:
            self.sweep()
        if "store" in self.health.trouble:
            self._try_out()

    def _try_out(self) -> None:
        """Does the disk take bytes again?"""
        name = secrets.token_hex(16)
        self._arriving.add(name)
        try:
            with reported(self.health, "store", "write to the store"):
                folder = self._home.ingest
                descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=folder)
                try:
                    os.write(descriptor, _PROBE)
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                    os.unlink(name, dir_fd=folder)
        finally:
            self._arriving.discard(name)
        self.health.worked("store")

    def free_space(self) -> tuple[int, int]:
        with faults("ask for free space"):
            found = os.fstatvfs(self._home.root)
        return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def _seal(descriptor: int, at: float) -> None:
    """A disk that takes no times has the bytes proven again sooner; no more comes of it."""
    with suppress(OSError):
        os.utime(descriptor, ns=(seal(at), seal(at)))


def _hashes_to(descriptor: int, digest: Digest) -> bool:
    with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
        file.seek(0)
        return hashlib.file_digest(file, digest.algorithm).hexdigest() == digest.encoded
