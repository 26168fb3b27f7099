"""Bytes on a local file system.

blobs/<algorithm>/<2 hex>/<hex>   exactly the bytes of that digest, mode 0444
ingest/<random>                   bytes without a name yet
quarantine/                       what was found in the way, bounded
"""

import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from proxy.core.names import Digest
from proxy.storage.faults import fault_of, faults, reported
from proxy.storage.health import StorageHealth
from proxy.storage.home import LATER, NEW_FILE, Home, no_claim
from proxy.storage.ingest import Ingests
from proxy.storage.quarantine import BYTES_LIMIT, Quarantine, erase
from proxy.storage.shards import Shards

log = logging.getLogger("entrepot.storage")

_PROBE = bytes(4096)


class DiskStore:
    """The store below ``path``, a folder that only this process uses, as ``claim`` makes sure of before anything is
    made in it. Raises NoSpace or StoreFailed, and tells ``health`` what it cannot do: keep content (``store``), or
    remove it (``removal``). Where the disk does not let it be opened, everything is StoreFailed until ``recover`` finds
    the disk well. ``now`` gives seconds since the epoch, for the moment of a proof."""

    def __init__(
        self,
        path: Path,
        health: StorageHealth | None = None,
        now: Callable[[], float] = time.time,
        claim: Callable[[], object] = no_claim,
        quarantine_limit: int = BYTES_LIMIT,
    ) -> None:
        self.health = health or StorageHealth()
        self._arriving: set[str] = set()
        with ExitStack() as opened, faults(f"open the store in {path}"):
            self._home = Home(path, claim)
            opened.callback(self._home.close)
            self._open_if_possible()
            self._quarantine = Quarantine(lambda: self._home.quarantine, bytes_limit=quarantine_limit)
            self._shards = Shards(self._home, self._quarantine, now)
            self._opened = opened.pop_all()
        self.begin = Ingests(self._shards, self._home, self._arriving, self.health, now).begin
        self.open = self._shards.open
        self.free_space = self._home.free_space

    def _open_if_possible(self) -> None:
        try:
            self._home.renew()
        except OSError as cause:
            if cause.errno not in LATER:
                raise
            self.health.failed("store", fault_of(cause, "make the folders of the store"))

    def close(self) -> None:
        """Gives the folders back once every ingest has ended; readers live on. Idempotent."""
        self._opened.close()

    def mark_proven(self, digest: Digest, at: float) -> None:
        with faults(f"mark {digest}"):
            self._shards.mark_proven(digest, at)

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
            return self._shards.verify(digest)

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
                descriptor = os.open(name, NEW_FILE, 0o600, dir_fd=folder)
                try:
                    os.write(descriptor, _PROBE)
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                    os.unlink(name, dir_fd=folder)
        finally:
            self._arriving.discard(name)
        self.health.worked("store")
