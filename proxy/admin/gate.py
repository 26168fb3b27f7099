"""Who may ask the admin listener for what: one gate before every answer but health's."""

import hashlib
import hmac
import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from pydantic import SecretStr

from proxy.config import FileRefused
from proxy.core.credentials import unbasic
from proxy.core.errors import RequestFault
from proxy.core.seldom import Seldom

log = logging.getLogger("entrepot.admin")

METRICS = "metrics"
ReadToken = Callable[[Path], Awaitable[SecretStr]]
"""The token as the file holds it now. Raises FileRefused."""


class AdminDenied(RequestFault):
    """This caller may not have this operation."""


class AdminTokenNeeded(AdminDenied):
    """Nor anybody who does not show the token."""


class AdminCaller(NamedTuple):
    """Who asks: the address, and what a browser says of the page that does, empty where none is said. ``here``: on
    this machine, by the Unix socket or from loopback, and for himself."""

    address: str
    host: str = ""  # the Host header
    origin: str = ""
    fetch_site: str = ""
    here: bool = False
    authorization: str = ""  # the header's value


class AdminGate(Protocol):
    """Stands before all but health."""

    async def admit(self, caller: AdminCaller, operation: str) -> None:
        """Raises AdminDenied. ``operation`` is ``status``, ``metrics`` or the name of an operation."""


class OperatorGate:
    """Metrics for everybody who reaches the listener; all else for whoever is on this machine, and for others who show
    the token, which is read at each use. A wrong one counts for nobody. ``read`` gives it."""

    def __init__(self, read: ReadToken, token_file: Path | None = None) -> None:
        self._read = read
        self._token_file = token_file
        self._told = Seldom(1.0)

    def configure(self, token_file: Path | None) -> None:
        """Holds for the next request on."""
        self._token_file = token_file

    async def admit(self, caller: AdminCaller, operation: str) -> None:
        """Raises AdminDenied, AdminTokenNeeded."""
        refuse_foreign_pages(caller, operation)
        file, shown = self._token_file, caller.authorization
        if operation == METRICS or (caller.here and not (shown and file is not None)):
            return
        if file is None:
            raise AdminDenied(f"{operation}: only for this machine, as long as admin_token_file names no token")
        if not shown:
            raise AdminTokenNeeded(
                f"{operation}: needs the token of admin_token_file (a file that ENTREPOT_ADMIN_TOKEN_FILE names)"
            )
        if not await self._is_right(file, shown):
            self._tell(caller.address, "a wrong token")
            raise AdminTokenNeeded(f"{operation}: the token is not the one of admin_token_file")

    async def _is_right(self, file: Path, shown: str) -> bool:
        try:
            token = await self._read(file)
        except FileRefused as refused:
            self._tell("", str(refused))
            raise AdminDenied("the token of admin_token_file cannot be read; the log says why") from None
        return hmac.compare_digest(_digest(_given(shown)), _digest(token.get_secret_value()))

    def _tell(self, address: str, why: str) -> None:
        """Once a second for each address."""
        if self._told.due(address, time.monotonic()):
            log.warning("the admin listener refuses %s: %s", address or "everybody beyond this machine", why)


def refuse_foreign_pages(caller: AdminCaller, operation: str) -> None:
    """No web page of another site, that a browser shows to somebody who may ask, may do so. The listener lets nobody
    ask by a foreign name, so what agrees with the Host header is its own. Raises AdminDenied."""
    if caller.fetch_site not in ("", "same-origin", "none"):
        raise AdminDenied(f"{operation}: a page of another site may not ask for this")
    if caller.origin and urlsplit(caller.origin).netloc.lower() != caller.host.lower():
        raise AdminDenied(f"{operation}: a page of {caller.origin[:128]!a} may not ask for this")


def is_loopback(address: str) -> bool:
    """Of an address as a socket tells it; not of one that is none."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def _given(authorization: str) -> str:
    """The token: of ``Bearer``, or as the password that a browser sends by ``Basic``, whoever's; empty of all else."""
    scheme, _, words = authorization.partition(" ")
    if scheme.lower() != "basic":
        return words.strip() if scheme.lower() == "bearer" else ""
    try:
        return unbasic(words.strip().encode())[1].decode()
    except ValueError:
        return ""


def _digest(word: str) -> bytes:
    """As long for every word, so that no comparison takes a time of its own."""
    return hashlib.sha256(word.encode()).digest()
