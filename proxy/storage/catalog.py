"""Knowledge in SQLite: four contracts and the books over one database.

The copy runs on a second thread with a second connection, which in WAL mode waits for nobody and holds nobody up.
"""

from collections.abc import Callable
from pathlib import Path

from proxy.storage.contents import SqliteContents
from proxy.storage.contract import CatalogContents, CatalogMemberships, CatalogNotes, CatalogTags
from proxy.storage.database import Database
from proxy.storage.health import StorageHealth
from proxy.storage.home import no_claim
from proxy.storage.ledger import SqliteLedger
from proxy.storage.memberships import SqliteMemberships
from proxy.storage.notes import SqliteNotes
from proxy.storage.recoveries import Recovery
from proxy.storage.tags import SqliteTags


class SqliteCatalog:
    """The catalog in ``folder``. Opening it blocks, and brings a lost or damaged one back; on a disk that takes no
    writes it lives in memory until the disk does. ``claim`` makes sure of the folder before a catalog is written into
    it."""

    def __init__(
        self, folder: Path, health: StorageHealth | None = None, claim: Callable[[], object] = no_claim
    ) -> None:
        self.health = health or StorageHealth()
        self._database = Database(folder, self.health, claim)
        self.contents: CatalogContents = SqliteContents(self._database)
        self.memberships: CatalogMemberships = SqliteMemberships(self._database)
        self.tags: CatalogTags = SqliteTags(self._database)
        self.notes: CatalogNotes = SqliteNotes(self._database)
        self.ledger = SqliteLedger(self._database)
        self.backup = self._database.backup
        self.recover = self._database.recover
        self.size = self._database.size
        self.close = self._database.close

    @property
    def recovered(self) -> Recovery:
        return self._database.recovered

    @property
    def recoveries(self) -> int:
        return self._database.recoveries
