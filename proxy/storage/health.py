"""What store and catalog cannot do at the moment, in words.

Each of them reports its own failures here and takes them back itself, as soon as the same work succeeds again: nobody
has to ask, and nobody has to heal anything by hand.
"""

from proxy.core.errors import OwnFault


class StorageHealth:
    """``trouble`` has a sentence for each kind of work that fails now, by its name; empty while all is well."""

    def __init__(self) -> None:
        self.trouble: dict[str, str] = {}

    def failed(self, work: str, cause: OwnFault) -> None:
        """From any thread."""
        self.trouble[work] = str(cause)

    def worked(self, work: str) -> None:
        """From any thread."""
        if self.trouble:
            self.trouble.pop(work, None)
