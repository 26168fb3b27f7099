"""Who may ask the admin listener for what: one gate before every answer but health's."""

from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from proxy.core.errors import RequestFault


class AdminDenied(RequestFault):
    """This caller may not have this operation."""


class AdminCaller(NamedTuple):
    """Who asks: the address, and what a browser says of the page that does, empty where none is said."""

    address: str
    host: str = ""  # the Host header
    origin: str = ""
    fetch_site: str = ""


class AdminGate(Protocol):
    def admit(self, caller: AdminCaller, operation: str) -> None:
        """Raises AdminDenied. ``operation`` is ``status``, ``metrics`` or the name of an operation."""


class NoForeignPages:
    """Everybody who reaches the listener, but no web page of another site that a browser shows to somebody who does.
    The listener lets nobody ask by a foreign name, so what agrees with the Host header is its own."""

    def admit(self, caller: AdminCaller, operation: str) -> None:
        if caller.fetch_site not in ("", "same-origin", "none"):
            raise AdminDenied(f"{operation}: a page of another site may not ask for this")
        if caller.origin and urlsplit(caller.origin).netloc.lower() != caller.host.lower():
            raise AdminDenied(f"{operation}: a page of {caller.origin[:128]!a} may not ask for this")
