"""The book of bearer tokens: who asks for a scope gets a token that is still good, and at most one request asks for it.

Tokens are counted from their receipt on our clock. One at half of its life is renewed in the background while it
serves on, so no pull waits for a token but the first.
"""

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from proxy.core.backoff import Backoff
from proxy.core.credentials import Login
from proxy.core.errors import RateLimited, UpstreamFault, afresh
from proxy.core.foreign_json import SMALL, JsonRefused, parse_json_object
from proxy.core.tables import BoundedTable, Tables, of_upstream
from proxy.tasks.flights import Flights
from proxy.tasks.jobs import Jobs
from proxy.upstream.settings import Timing

MOST_BYTES = 16 << 20  # of the tokens of all upstreams
UNSTATED_LIFE = 60.0  # seconds, by the distribution token specification
LONGEST_LIFE = 12 * 3600.0
_PAUSE = Backoff(first=0.2, longest=60.0)  # between two tries that fail; whoever pulls tries for longer than the first
_LONGEST_TOKEN = 32 * 1024


class TokenKey(NamedTuple):
    """What a token is good for, and whose it is."""

    realm: str  # URL of the token server, with its own query
    service: str | None
    scope: str | None
    credentials: Login | None


class Token(NamedTuple):
    """A bearer token as its server gave it."""

    text: str
    life: float  # seconds from receipt


Fetch = Callable[[TokenKey], Awaitable[Token]]


def parse_token(body: bytes) -> Token | None:
    """The answer of a token server; None where there is no token in it. A life that is missing, not a number, not
    positive or beyond reason counts as 60 s; the most is 12 h."""
    try:
        answer = parse_json_object(body, SMALL)
    except JsonRefused:
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


@dataclass(frozen=True, slots=True)
class _TokenState:
    token: str | None = None
    renew_at: float = 0.0  # from then on it is renewed in the background
    good_until: float = 0.0
    fault: UpstreamFault | None = None  # of the last try
    pause_until: float = 0.0
    failures: int = 0  # in a row


_NOTHING = _TokenState()


class TokenBook:
    """``fetch`` asks the token server once and raises UpstreamFault kinds. Requests belong to the group of ``jobs``.
    The tokens of all upstreams are in one of ``tables``; this book sees those of ``upstream``."""

    def __init__(self, upstream: str, fetch: Fetch, timing: Timing, jobs: Jobs, tables: Tables) -> None:
        self._upstream = upstream
        self._fetch = fetch
        self._now = timing.now
        self._jobs = jobs
        self._entries: BoundedTable[tuple[str, TokenKey], _TokenState] = tables.table(
            "tokens", MOST_BYTES, None, of_upstream
        )
        self._flights: Flights[TokenKey, str] = Flights(jobs.group)

    async def token(self, key: TokenKey) -> str:
        """Raises what ``fetch`` raised, for a while without asking again."""
        entry, now = self._state(key), self._now()
        if entry.token is not None and now < entry.good_until:
            if now >= max(entry.renew_at, entry.pause_until) and key not in self._flights:
                self._jobs.once("token renewal", partial(self._renew, key))
            return entry.token
        if entry.fault is not None and now < entry.pause_until and key not in self._flights:
            raise afresh(entry.fault)
        return await self._flights.join(key, partial(self._ask, key))

    def drop(self, key: TokenKey, token: str) -> None:
        """The registry refused the token; nothing happens where the book has another already."""
        entry = self._state(key)
        if entry.token == token:
            self._entries.put((self._upstream, key), replace(entry, token=None))

    def forget(self, key: TokenKey) -> None:
        """Whoever asks next gets one that was given later."""
        if (self._upstream, key) in self._entries:
            self._entries.put((self._upstream, key), replace(self._state(key), token=None))

    def _state(self, key: TokenKey) -> _TokenState:
        return self._entries.get((self._upstream, key)) or _NOTHING

    async def _renew(self, key: TokenKey) -> None:
        """In the background: a fault is remembered, and raised to whoever finds the token at its end."""
        with suppress(UpstreamFault):
            await self._flights.join(key, partial(self._ask, key))

    async def _ask(self, key: TokenKey) -> str:
        try:
            token = await self._fetch(key)
        except UpstreamFault as fault:
            self._entries.put((self._upstream, key), self._failed(self._state(key), fault))
            raise
        received = self._now()
        good_until = received + token.life - min(10.0, token.life / 10)
        self._entries.put((self._upstream, key), _TokenState(token.text, received + token.life / 2, good_until))
        return token.text

    def _failed(self, entry: _TokenState, fault: UpstreamFault) -> _TokenState:
        advised = fault.retry_after if isinstance(fault, RateLimited) else 0.0
        until = self._now() + max(advised, _PAUSE.pause(entry.failures))
        # What was raised holds on to the frames that it came through.
        return replace(entry, fault=afresh(fault), pause_until=until, failures=entry.failures + 1)
