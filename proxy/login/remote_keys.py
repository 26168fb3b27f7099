"""The key set of an issuer that is at a URL: fetched when a token needs it, and now and then while it is in use."""

import logging
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from proxy.core.errors import LoginsUnproven
from proxy.login.key_sets import LARGEST, KeySet, KeySetInvalid
from proxy.tasks.flights import Flights
from proxy.tasks.off_loop import off_loop

log = logging.getLogger("entrepot.logins")

_FRESH = 300.0  # seconds
_AGAIN = 10.0  # seconds between two questions, whatever unknown keys are named meanwhile
_KEPT = 86_400.0  # seconds that a set is believed which cannot be fetched anew
_PATIENCE = 10.0


class RemoteKeys:
    """``set`` is the last one that came. What is fetched belongs to ``flights``."""

    def __init__(
        self, url: str, ca_file: Path | None, pool: Executor, flights: Flights[str, None], now: Callable[[], float]
    ) -> None:
        self.url = url
        self.set: KeySet | None = None
        self._ca_file = ca_file
        self._pool = pool
        self._flights = flights
        self._now = now
        self._came = self._asked = float("-inf")

    async def find(self, name: object) -> KeySet:
        """One that has a key of that ``kid``, where the issuer has such a key. Raises LoginsUnproven where none can be
        had."""
        now = self._now()
        known = self.set is not None and now - self._came < _KEPT
        if (not known or (self.set is not None and not self.set.has(name))) and now - self._asked >= _AGAIN:
            await self._flights.join(self.url, self._fetch)
        else:
            self.look()
        if self.set is None or self._now() - self._came >= _KEPT:
            raise LoginsUnproven(f"the keys at {self.url} cannot be had")
        return self.set

    def look(self) -> None:
        """Fetches anew what is in use and not fresh any more, behind everything else."""
        now = self._now()
        if self.set is not None and now - self._came >= _FRESH and now - self._asked >= _AGAIN:
            self._flights.launch(self.url, self._fetch)

    async def _fetch(self) -> None:
        """Keeps what was there where it fails, which is told."""
        self._asked = self._now()
        try:
            self.set = KeySet.parse(await off_loop(self._pool, partial(_read, self.url, self._ca_file)))
            self._came = self._now()
        except (OSError, ValueError, KeySetInvalid) as cause:
            log.warning("the keys at %s cannot be read: %.200s", self.url, cause)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Keys come from where the configuration says, and from nowhere else."""

    def redirect_request(self, *_: object) -> None:
        return None


def _read(url: str, ca_file: Path | None) -> bytes:
    """Raises OSError, ValueError. Blocks."""
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirects())
    asked = urllib.request.Request(url, headers={"Accept": "application/jwk-set+json, application/json"})
    try:
        with opener.open(asked, timeout=_PATIENCE) as answer:
            content: bytes = answer.read(LARGEST + 1)
    except urllib.error.HTTPError as refused:
        refused.close()
        raise OSError(f"status {refused.code}") from None
    if len(content) > LARGEST:
        raise ValueError("it is too large")
    return content
