"""What store and catalog cannot do at the moment, in words.

Each of them reports its own failures here and takes them back itself, as soon as the same work succeeds again: nobody
has to ask, and nobody has to heal anything by hand. A failure is logged here, once a minute for each kind of work, so
that those who met it need not say it again for every request.
"""

import logging
import threading
import time
from collections.abc import Callable

from proxy.core.errors import OwnFault
from proxy.core.seldom import Seldom

log = logging.getLogger("entrepot.storage")


class StorageHealth:
    """``trouble`` has a sentence for each kind of work that fails now, by its name; empty while all is well."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.trouble: dict[str, str] = {}
        self._clock = clock
        self._lines = Seldom()
        self._lock = threading.Lock()

    def failed(self, work: str, cause: OwnFault) -> None:
        """From any thread."""
        self.trouble[work] = str(cause)
        with self._lock:
            due = self._lines.due(work, self._clock())
        if due:
            log.error("%s: %s; pulls go on without it", work, cause)

    def worked(self, work: str) -> None:
        """From any thread."""
        if self.trouble and self.trouble.pop(work, None) is not None:
            log.info("%s works again", work)
