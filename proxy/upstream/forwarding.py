"""How a registry is named to one that is asked in its place: another cache, or a registry that holds several. Pure."""

from enum import Enum
from typing import NamedTuple
from urllib.parse import quote


class Forward(Enum):
    """``NS`` names it in the query, as containerd does (docs/hosts.md), ``PATH`` in front of the repository."""

    NS = "ns"
    PATH = "path"


class Naming(NamedTuple):
    """Of the repositories of ``registry``. Without ``forward`` the registry itself is asked, and knows its name."""

    registry: str
    forward: Forward | None = None

    def repository(self, name: str) -> str:
        """As whoever is asked knows it."""
        return f"{self.registry}/{name}" if self.forward is Forward.PATH else name

    def own(self, name: str) -> str:
        """REGISTRY/REPOSITORY of a name as whoever is asked knows it."""
        return name if self.forward is Forward.PATH else f"{self.registry}/{name}"

    def path(self, path: str) -> str:
        """``path`` is what is asked for, with its query; that it speaks the API is a question about itself."""
        if self.forward is not Forward.NS or path == "/v2/":
            return path
        return f"{path}{'&' if '?' in path else '?'}ns={quote(self.registry, safe='')}"
