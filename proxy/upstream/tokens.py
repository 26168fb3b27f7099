"""The book of bearer tokens: who asks for a scope gets a token that is still good, and at most one request asks for it.

Tokens are counted from their receipt on our clock. One at half of its life is renewed in the background while it
serves on, so no pull waits for a token but the first.
"""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from cachetools import LRUCache

from proxy.core.credentials import Credentials
from proxy.core.errors import RateLimited, UpstreamFault, afresh
from proxy.upstream.settings import Timing

MOST_TOKENS = 4096
UNSTATED_LIFE = 60.0  # seconds, by the distribution token specification
LONGEST_LIFE = 12 * 3600.0
LONGEST_PAUSE = 60.0  # seconds between two tries that fail
_LONGEST_TOKEN = 32 * 1024


class TokenKey(NamedTuple):
    """What a token is good for, and whose it is."""

    realm: str  # URL of the token server, with its own query
    service: str | None
    scope: str | None
    credentials: Credentials | None


class Token(NamedTuple):
    text: str
    life: float  # seconds from receipt


Fetch = Callable[[TokenKey], Awaitable[Token]]


def parse_token(body: bytes) -> Token | None:
    """The answer of a token server; None where there is no token in it. A life that is missing, not a number, not
    positive or beyond reason counts as 60 s; the most is 12 h."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(answer, dict):
        return None
    text = answer.get("token") or answer.get("access_token")
    if not isinstance(text, str) or len(text) > _LONGEST_TOKEN or not _sendable(text):
        return None
    return Token(text, _life(answer.get("expires_in")))


def _sendable(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _life(stated: object) -> float:
    if isinstance(stated, bool) or not isinstance(stated, int | float):
        return UNSTATED_LIFE
    if isinstance(stated, float) and not math.isfinite(stated):
        return UNSTATED_LIFE
    if not 0 < stated < 10**9:
        return UNSTATED_LIFE
    return min(float(stated), LONGEST_LIFE)


@dataclass(slots=True)
class _Entry:
    token: str | None = None
    renew_at: float = 0.0  # from then on it is renewed in the background
    good_until: float = 0.0
    fault: UpstreamFault | None = None  # of the last try
    pause_until: float = 0.0
    failures: int = 0  # in a row


class TokenBook:
    """``fetch`` asks the token server once and raises UpstreamFault kinds."""

    def __init__(self, fetch: Fetch, timing: Timing) -> None:
        self._fetch = fetch
        self._now = timing.now
        self._entries: LRUCache[TokenKey, _Entry] = LRUCache(MOST_TOKENS)
        self._flights: dict[TokenKey, asyncio.Task[str | UpstreamFault]] = {}

    async def token(self, key: TokenKey) -> str:
        """Raises what ``fetch`` raised, for a while without asking again."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry()
        now = self._now()
        if entry.token is not None and now < entry.good_until:
            if now >= max(entry.renew_at, entry.pause_until):
                self._flight(key, entry)
            return entry.token
        if entry.fault is not None and now < entry.pause_until and key not in self._flights:
            raise afresh(entry.fault)
        landed = await asyncio.shield(self._flight(key, entry))  # a caller may leave; the others still want it
        if isinstance(landed, UpstreamFault):
            raise afresh(landed)
        return landed

    def drop(self, key: TokenKey, token: str) -> None:
        """The registry refused the token; nothing happens where the book has another already."""
        entry = self._entries.get(key)
        if entry is not None and entry.token == token:
            entry.token = None

    async def close(self) -> None:
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _flight(self, key: TokenKey, entry: _Entry) -> asyncio.Task[str | UpstreamFault]:
        flight = self._flights.get(key)
        if flight is None:  # no await between look and launch, so no lock
            flight = asyncio.create_task(self._fly(key, entry), name="token")
            self._flights[key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(key))
        return flight

    async def _fly(self, key: TokenKey, entry: _Entry) -> str | UpstreamFault:
        """A fault comes back as a value: a renewal in the background has nobody to raise it to."""
        try:
            token = await self._fetch(key)
        except UpstreamFault as fault:
            advised = fault.retry_after if isinstance(fault, RateLimited) else 0.0
            wait = max(advised, min(2.0**entry.failures, LONGEST_PAUSE))
            entry.failures = min(entry.failures + 1, 6)
            entry.fault, entry.pause_until = fault, self._now() + wait
            return fault
        received = self._now()
        entry.token, entry.fault, entry.failures = token.text, None, 0
        entry.renew_at = received + token.life / 2
        entry.good_until = received + token.life - min(10.0, token.life / 10)
        return token.text
